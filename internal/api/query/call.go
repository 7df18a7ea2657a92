package query

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"time"
)

// MutateTimeout bounds a handler of an action that changes something. Handlers
// write down what is wanted and return; this is for one that hangs.
const MutateTimeout = 60 * time.Second

// Call is one request for one action, not decoded yet.
type Call struct {
	// Action is the action's name; empty when the request names none.
	Action string
	// Mutating tells an action that changes something.
	Mutating bool
	// Check is asked, if there is one, before the handler runs, with the decoded input.
	// Its error is the call's.
	Check func(ctx context.Context, in any) error

	service *Service
	form    map[string]string
	err     error // what is wrong with the request as a whole
}

// formType is the only content type of a body that holds parameters.
const formType = "application/x-www-form-urlencoded"

// Parse reads the parameters of a request: those of the URL and, of a POST, those
// of the body. What is wrong with them is told by Do, so that a call can be logged
// and answered in one way.
func (s *Service) Parse(r *http.Request, body []byte) *Call {
	c := &Call{service: s}
	raws := []string{r.URL.RawQuery}
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); len(body) > 0 && (err != nil || ct != formType) {
			c.err = malformed("The content type of a request to %s must be %s", s.table.Name, formType)
			return c
		}
		raws = append(raws, string(body))
	default:
		c.err = &Error{Code: "InvalidAction", Message: "Requests must be GET or POST", Status: http.StatusMethodNotAllowed}
		return c
	}
	c.form, c.err = parseForm(raws...)
	c.Action = c.form["Action"]
	c.Mutating = isMutating(c.Action)
	return c
}

// isMutating goes by the name, as AWS names its actions.
func isMutating(action string) bool {
	for _, prefix := range []string{"Describe", "List", "Get"} {
		if strings.HasPrefix(action, prefix) {
			return false
		}
	}
	return true
}

// Do runs the call and returns its reply; ctx carries the Info. A handler that
// panics is an internal error.
func (c *Call) Do(ctx context.Context) Reply {
	info := InfoFrom(ctx)
	body, err := c.run(ctx)
	if err != nil {
		return c.service.Fail(err, info.RequestID)
	}
	return Reply{Status: http.StatusOK, ContentType: contentType, RequestID: info.RequestID, Body: body}
}

// run finds the action, decodes, calls and encodes.
func (c *Call) run(ctx context.Context) (body []byte, err error) {
	a, err := c.lookup()
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			body, err = nil, fmt.Errorf("panic in the handler of %s: %v\n%s", c.Action, p, debug.Stack())
		}
	}()
	root, err := tree(c.form)
	if err != nil {
		return nil, err
	}
	in := a.newInput()
	if err := a.decode(&path{}, root, in.Elem()); err != nil {
		return nil, err
	}
	if c.Check != nil {
		if err := c.Check(ctx, in.Interface()); err != nil {
			return nil, err
		}
	}
	if c.Mutating {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), MutateTimeout)
		defer cancel()
	}
	out, err := a.call(ctx, in.Interface())
	if err != nil {
		return nil, err
	}
	return c.encode(a, out, InfoFrom(ctx).RequestID), nil
}

// lookup checks action and version.
func (c *Call) lookup() (*action, error) {
	if c.err != nil {
		return nil, c.err
	}
	table := c.service.table
	version := c.form["Version"]
	if c.Action == "" {
		return nil, Errorf("MissingAction", "The request must contain the parameter Action.")
	}
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	if _, ok := table.Actions[c.Action]; !ok || version != table.Version {
		return nil, Errorf("InvalidAction", "Could not find operation %.100s for version %.100s", c.Action, version)
	}
	a := c.service.actions[c.Action]
	if a == nil {
		return nil, Errorf("UnsupportedOperation", "The action %s of %s is not supported by this endpoint.", c.Action, table.Name)
	}
	return a, nil
}

// encode writes <XResponse><XResult>…</XResult><ResponseMetadata>….
func (c *Call) encode(a *action, out any, requestID string) []byte {
	table := c.service.table
	// Replies of one action are mostly of one size.
	b := make([]byte, 0, 512+a.size.Load())
	b = append(b, "<"+c.Action+`Response xmlns="`+table.Namespace+`">`...)
	if table.Actions[c.Action].Result {
		b = append(b, "<"+c.Action+"Result>"...)
		b = a.encode(b, reflect.ValueOf(out).Elem())
		b = append(b, "</"+c.Action+"Result>"...)
	}
	b = append(b, "<ResponseMetadata><RequestId>"...)
	b = appendText(b, requestID)
	b = append(b, "</RequestId></ResponseMetadata></"+c.Action+"Response>\n"...)
	a.size.Store(int64(len(b)))
	return b
}
