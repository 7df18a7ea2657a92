package query

import (
	"iter"
	"reflect"
)

// modelFields are the fields of an SDK struct that the API's model knows, by
// index: exported, and not the client's metadata.
func modelFields(t reflect.Type) iter.Seq2[int, reflect.StructField] {
	return func(yield func(int, reflect.StructField) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Name == "ResultMetadata" {
				continue
			}
			if !yield(i, f) {
				return
			}
		}
	}
}

// enumValues are the values that an SDK's enum type lists, or nil for a type
// that is no enum. The method's name stays a constant: so the linker can still
// drop what is unused elsewhere.
func enumValues(t reflect.Type) []string {
	m := reflect.Zero(t).MethodByName("Values")
	if !m.IsValid() || m.Type().NumIn() != 0 || m.Type().NumOut() != 1 || m.Type().Out(0).Kind() != reflect.Slice {
		return nil
	}
	list := m.Call(nil)[0]
	values := make([]string, list.Len())
	for i := range values {
		values[i] = list.Index(i).String()
	}
	return values
}
