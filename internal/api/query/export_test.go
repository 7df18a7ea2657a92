package query

import (
	"context"
	"reflect"
)

// Register lets tests register handlers for types found by reflection.
func Register(s *Service, in, out reflect.Type, call func(context.Context, any) (any, error)) error {
	return s.register(in, out, call)
}
