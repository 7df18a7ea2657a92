package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// functions sees whether the server takes those of the data.
func (p *preflight) functions(ctx context.Context, libs []rdb.FunctionLibrary) error {
	if len(libs) == 0 || p.flags.withoutFunctions {
		return nil
	}
	named := map[string]string{}
	for _, f := range libs {
		code, err := f.Code()
		if err != nil {
			return fmt.Errorf("cannot read a library of functions: %w", err)
		}
		named[libraryName(code)] = code
	}
	return p.libraries(ctx, named)
}

// libraries sees whether the server takes libraries, name to code.
func (p *preflight) libraries(ctx context.Context, libs map[string]string) error {
	if len(libs) == 0 {
		return nil
	}
	there, err := loadedFunctions(ctx, p.conn)
	switch {
	case resp.IsServerError(err):
		p.refuse("functions", "there are libraries of functions, %d of them, and %s says: %v; --without-functions leaves them out", len(libs), p.srv, err)
		return nil
	case err != nil:
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(libs)) {
		if was, ok := there[name]; ok && was != libs[name] && !p.flags.replace {
			p.refuse("functions", "the server has another library %q; --replace replaces it, --without-functions leaves it", name)
		}
	}
	return nil
}

// loadedFunctions are a server's libraries: name to code.
func loadedFunctions(ctx context.Context, c *resp.Conn) (map[string]string, error) {
	r, err := c.Do(ctx, "FUNCTION", "LIST", "WITHCODE")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i := range r.Elems {
		fields := r.Elems[i].Elems
		var name, code string
		for j := 0; j+1 < len(fields); j += 2 {
			switch string(fields[j].Bytes) {
			case "library_name":
				name = string(fields[j+1].Bytes)
			case "library_code":
				code = string(fields[j+1].Bytes)
			}
		}
		out[name] = code
	}
	return out, nil
}

// libraryName is the name that the first line of a library's code gives it.
func libraryName(code string) string {
	line, _, _ := strings.Cut(code, "\n")
	for word := range strings.FieldsSeq(line) {
		if name, ok := strings.CutPrefix(word, "name="); ok {
			return name
		}
	}
	return ""
}

// loader gives a server functions, each once.
type loader struct {
	conn *resp.Conn
	// others are those of the other shards of a cluster.
	others  []*loader
	replace bool
	loaded  map[string]string
	// count is how many the server had or got.
	count int
}

func newLoader(ctx context.Context, opt resp.Options, replace bool) (*loader, error) {
	first, others, err := primaryOf(ctx, opt)
	if err != nil {
		return nil, err
	}
	conn, err := resp.Dial(ctx, first.WithDB(0))
	if err != nil {
		return nil, err
	}
	l := &loader{conn: conn, replace: replace}
	for _, opt := range others {
		conn, err := resp.Dial(ctx, opt.WithDB(0))
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.others = append(l.others, &loader{conn: conn, replace: replace})
	}
	return l, nil
}

// load gives the server, or every shard, one library, unless it has it already.
func (l *loader) load(ctx context.Context, f rdb.FunctionLibrary) error {
	for _, other := range l.others {
		if err := other.loadOne(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", other.conn, err)
		}
	}
	return l.loadOne(ctx, f)
}

func (l *loader) loadOne(ctx context.Context, f rdb.FunctionLibrary) error {
	if l.loaded == nil {
		there, err := loadedFunctions(ctx, l.conn)
		if err != nil {
			return fmt.Errorf("cannot load the functions, --without-functions leaves them out: %w", err)
		}
		l.loaded = there
	}
	code, err := f.Code()
	if err != nil {
		return fmt.Errorf("cannot read a library of functions: %w", err)
	}
	name := libraryName(code)
	if was, ok := l.loaded[name]; ok && was == code {
		l.count++
		return nil
	}
	args := []string{"FUNCTION", "LOAD", code}
	if l.replace {
		args = []string{"FUNCTION", "LOAD", "REPLACE", code}
	}
	if _, err := l.conn.Do(ctx, args...); err != nil {
		return fmt.Errorf("cannot load the library of functions %q, --without-functions leaves it out: %w", name, err)
	}
	l.loaded[name] = code
	l.count++
	return nil
}

func (l *loader) close() error {
	err := l.conn.Close()
	for _, other := range l.others {
		err = errors.Join(err, other.close())
	}
	return err
}
