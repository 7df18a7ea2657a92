package store

import (
	"net/netip"
	"reflect"
	"sync"
	"time"
)

// copier deepens a shallow copy in place: whatever it shares with the original
// is replaced by a copy. nil means that a shallow copy shares nothing that can be
// changed.
type copier func(reflect.Value)

// plan says how a type is copied.
type plan struct {
	copy copier
	ok   bool // false: it cannot be told how, so such records are not cached
}

var plans sync.Map // reflect.Type → plan

// immutable types share memory between copies that nobody can change.
var immutable = map[reflect.Type]bool{
	reflect.TypeFor[time.Time]():      true,
	reflect.TypeFor[netip.Addr]():     true,
	reflect.TypeFor[netip.AddrPort](): true,
	reflect.TypeFor[netip.Prefix]():   true,
}

func planOf(t reflect.Type) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	p := makePlan(t, map[reflect.Type]bool{})
	plans.Store(t, p)
	return p
}

func copyable[T any]() bool { return planOf(reflect.TypeFor[T]()).ok }

// copyOf returns a value that shares nothing changeable with v. T is copyable.
func copyOf[T any](v *T) T {
	out := *v
	if p := planOf(reflect.TypeFor[T]()); p.copy != nil {
		p.copy(reflect.ValueOf(&out).Elem())
	}
	return out
}

// makePlan works out the plan of a type. Types that contain themselves,
// interfaces, channels and functions have none, nor have hidden fields that
// share memory.
func makePlan(t reflect.Type, above map[reflect.Type]bool) plan {
	if immutable[t] {
		return plan{ok: true}
	}
	if above[t] {
		return plan{}
	}
	above[t] = true
	defer delete(above, t)
	switch t.Kind() {
	case reflect.Struct:
		return planStruct(t, above)
	case reflect.Slice, reflect.Array, reflect.Pointer, reflect.Map:
		return planOfMany(t, makePlan(t.Elem(), above))
	case reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return plan{}
	default:
		return plan{ok: true}
	}
}

func planStruct(t reflect.Type, above map[reflect.Type]bool) plan {
	type field struct {
		index int
		copy  copier
	}
	var fields []field
	for i := range t.NumField() {
		p := makePlan(t.Field(i).Type, above)
		if !p.ok || (p.copy != nil && !t.Field(i).IsExported()) {
			return plan{}
		}
		if p.copy != nil {
			fields = append(fields, field{i, p.copy})
		}
	}
	if len(fields) == 0 {
		return plan{ok: true}
	}
	return plan{ok: true, copy: func(v reflect.Value) {
		for _, f := range fields {
			f.copy(v.Field(f.index))
		}
	}}
}

// planOfMany is the plan of a type whose elements follow the plan elem.
func planOfMany(t reflect.Type, elem plan) plan {
	if !elem.ok {
		return plan{}
	}
	switch t.Kind() {
	case reflect.Array:
		if elem.copy == nil {
			return elem
		}
		return plan{ok: true, copy: func(v reflect.Value) { deepenEach(v, elem.copy) }}
	case reflect.Slice:
		return plan{ok: true, copy: func(v reflect.Value) { copySlice(v, elem.copy) }}
	case reflect.Map:
		return plan{ok: true, copy: func(v reflect.Value) { copyMap(v, elem.copy) }}
	default:
		return plan{ok: true, copy: func(v reflect.Value) { copyPointer(v, elem.copy) }}
	}
}

func deepenEach(v reflect.Value, elem copier) {
	for i := range v.Len() {
		elem(v.Index(i))
	}
}

func copySlice(v reflect.Value, elem copier) {
	if v.IsNil() {
		return
	}
	s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	reflect.Copy(s, v)
	if elem != nil {
		deepenEach(s, elem)
	}
	v.Set(s)
}

func copyMap(v reflect.Value, elem copier) {
	if v.IsNil() {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		e := it.Value()
		if elem != nil {
			deep := reflect.New(e.Type()).Elem()
			deep.Set(e)
			elem(deep)
			e = deep
		}
		m.SetMapIndex(it.Key(), e)
	}
	v.Set(m)
}

func copyPointer(v reflect.Value, elem copier) {
	if v.IsNil() {
		return
	}
	p := reflect.New(v.Type().Elem())
	p.Elem().Set(v.Elem())
	if elem != nil {
		elem(p.Elem())
	}
	v.Set(p)
}
