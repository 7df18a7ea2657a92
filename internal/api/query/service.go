package query

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	"holdfast.dev/internal/api/shapes"
)

// Service is the registry of one AWS service's actions.
type Service struct {
	table   *shapes.Service
	actions map[string]*action
	err     error
}

// action is a registered handler with its codec.
type action struct {
	newInput func() reflect.Value // a pointer to a zero input
	decode   decoder
	call     func(context.Context, any) (any, error)
	encode   encoder
	size     atomic.Int64 // bytes of the last reply
}

// NewService makes a service without handlers.
func NewService(table *shapes.Service) *Service {
	return &Service{table: table, actions: map[string]*action{}}
}

// Name is the service's name in the credential scope.
func (s *Service) Name() string { return s.table.Name }

// Err returns what went wrong in registering handlers, all of it.
func (s *Service) Err() error { return s.err }

// Has tells whether the action has a handler.
func (s *Service) Has(name string) bool { return s.actions[name] != nil }

// Handle registers the handler of the action that In and Out belong to: the
// SDK's XInput and XOutput. A mistake is kept for Err. The handler is given a
// checked input of its own, and returns either an output or an error.
func Handle[In, Out any](s *Service, h func(context.Context, *In) (*Out, error)) {
	in, out := reflect.TypeFor[In](), reflect.TypeFor[Out]()
	if err := s.register(in, out, func(ctx context.Context, input any) (any, error) {
		typed, ok := input.(*In)
		if !ok {
			return nil, fmt.Errorf("the input is a %T, want %T", input, typed)
		}
		output, err := h(ctx, typed)
		if err != nil {
			return nil, err
		}
		if output == nil {
			return nil, fmt.Errorf("the handler of %s returned neither an output nor an error", in.Name())
		}
		return output, nil
	}); err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("cannot register the handler of %s: %w", in, err))
	}
}

func (s *Service) register(in, out reflect.Type, call func(context.Context, any) (any, error)) error {
	name := strings.TrimSuffix(in.Name(), "Input")
	known, ok := s.table.Actions[name]
	if !ok || known.Input != in.Name() {
		return fmt.Errorf("%s has no action of that input", s.table.Name)
	}
	if known.Output != out.Name() || in.PkgPath() != out.PkgPath() {
		return fmt.Errorf("the output is %s, want %s", out, known.Output)
	}
	if s.actions[name] != nil {
		return fmt.Errorf("%s has a handler already", name)
	}
	dec, err := newDecoder(s.table, in, "", 0)
	if err != nil {
		return err
	}
	enc, err := newEncoder(s.table, out, "", true, 0)
	if err != nil {
		return err
	}
	s.actions[name] = &action{
		newInput: func() reflect.Value { return reflect.New(in) },
		decode:   dec,
		call:     call,
		encode:   enc,
	}
	return nil
}
