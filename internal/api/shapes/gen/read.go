package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// model is what was read of one service.
type model struct {
	service
	version  string
	actions  map[string]*action
	names    map[string]string
	items    map[string]string
	required map[string][]string
	codes    map[string]int
	errors   map[string]bool // names of the error structs
}

type action struct {
	input, output bool
	result        bool
}

// read takes a service's tables out of the SDK's sources in dir.
func read(svc service, dir string) (*model, error) {
	m := &model{
		service: svc, actions: map[string]*action{}, items: map[string]string{},
		names: map[string]string{}, required: map[string][]string{}, codes: map[string]int{},
		errors: map[string]bool{},
	}
	steps := []struct {
		file string
		read func(*ast.File) error
	}{
		{"types/errors.go", m.readErrors},
		{"serializers.go", m.readSerializers},
		{"deserializers.go", m.readDeserializers},
		{"validators.go", m.readValidators},
	}
	for _, s := range steps {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, s.file), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if err := s.read(f); err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
	}
	if err := m.readActions(dir); err != nil {
		return nil, err
	}
	return m, m.setStatus()
}

// readActions checks that each action found has both structs.
func (m *model) readActions(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "api_op_*.go"))
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		op := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "api_op_"), ".go")
		a := m.actions[op]
		if a == nil {
			return fmt.Errorf("action %s has no serializer", op)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if ts, ok := n.(*ast.TypeSpec); ok {
				a.input = a.input || ts.Name.Name == op+"Input"
				a.output = a.output || ts.Name.Name == op+"Output"
			}
			return true
		})
	}
	for op, a := range m.actions {
		if !a.input || !a.output {
			return fmt.Errorf("action %s lacks its input or output struct", op)
		}
	}
	return nil
}

// readValidators collects the members that the SDK's client insists on.
func (m *model) readValidators(f *ast.File) error {
	for _, fn := range functions(f) {
		name, list := firstParam(fn)
		if list || name == "" {
			continue
		}
		for _, c := range calls(fn.Body, "NewErrParamRequired") {
			member, err := text(c.Args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", fn.Name.Name, err)
			}
			m.required[name] = append(m.required[name], member)
		}
	}
	if len(m.required) == 0 {
		return fmt.Errorf("no required members found")
	}
	return nil
}

// readErrors collects the codes: the constant that ErrorCode returns.
func (m *model) readErrors(f *ast.File) error {
	for _, fn := range functions(f) {
		if fn.Name.Name != "ErrorCode" {
			continue
		}
		m.errors[receiver(fn)] = true
		found := 0
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				code, err := strconv.Unquote(lit.Value)
				if err == nil {
					m.codes[code] = 400
					found++
				}
			}
			return true
		})
		if found != 1 {
			return fmt.Errorf("an ErrorCode method holds %d constants, want 1", found)
		}
	}
	return nil
}

// setStatus overlays the statuses that are not 400.
func (m *model) setStatus() error {
	for status, codes := range m.status {
		for _, code := range codes {
			if _, ok := m.codes[code]; !ok {
				return fmt.Errorf("the table gives status %d to %s, which the SDK does not have", status, code)
			}
			m.codes[code] = status
		}
	}
	return nil
}
