package main

import (
	"fmt"
	"go/ast"
	"strings"
)

// setItem notes the item name of a list. Both directions must agree.
func (m *model) setItem(structName, member, item string) error {
	key := structName + "." + member
	if old, ok := m.items[key]; ok && old != item {
		return fmt.Errorf("list %s has items %q and %q", key, old, item)
	}
	m.items[key] = item
	return nil
}

// setName notes a member's name on the wire where it is not the Go name, and
// returns the Go name. used are the struct's fields that the code at hand touches.
func (m *model) setName(structName, wire string, used []string) (string, error) {
	if len(used) != 1 {
		return "", fmt.Errorf("the code of %s.%s touches the fields %q", structName, wire, used)
	}
	if used[0] != wire {
		m.names[structName+"."+used[0]] = wire
	}
	return used[0], nil
}

// readSerializers takes from the client's encoder: actions, the version, item
// names of lists in requests.
func (m *model) readSerializers(f *ast.File) error {
	fns := functions(f)
	lists := map[string]string{}
	for _, fn := range fns {
		if _, list := firstParam(fn); list {
			arrays := calls(fn.Body, "Array")
			if len(arrays) != 1 {
				return fmt.Errorf("%s does not write one array", fn.Name.Name)
			}
			item, err := text(arrays[0].Args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", fn.Name.Name, err)
			}
			lists[fn.Name.Name] = item
		}
	}
	for _, fn := range fns {
		for _, bad := range []string{"FlatArray", "FlatKey", "FlatMap", "Map"} {
			if len(calls(fn.Body, bad)) > 0 {
				return fmt.Errorf("%s uses %s, which the codec does not model", fn.Name.Name, bad)
			}
		}
		if op, ok := strings.CutPrefix(receiver(fn), "awsAwsquery_serializeOp"); ok && fn.Name.Name == "HandleSerialize" {
			if err := m.readOperation(op, fn); err != nil {
				return err
			}
		}
		if name, list := firstParam(fn); name != "" && !list {
			if err := m.readWritten(name, fn, lists); err != nil {
				return err
			}
		}
	}
	return nil
}

// readOperation reads body.Key("Action").String("X") and the same of Version.
func (m *model) readOperation(op string, fn *ast.FuncDecl) error {
	said := map[string]string{}
	for _, c := range calls(fn.Body, "String") {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		key, ok := sel.X.(*ast.CallExpr)
		if !ok || callee(key) != "Key" {
			continue
		}
		k, err := text(key.Args[0])
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if said[k], err = text(c.Args[0]); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	if said["Action"] != op || said["Version"] == "" {
		return fmt.Errorf("%s sends Action %q and Version %q", op, said["Action"], said["Version"])
	}
	if m.version != "" && m.version != said["Version"] {
		return fmt.Errorf("%s has version %s, others %s", op, said["Version"], m.version)
	}
	m.version = said["Version"]
	m.actions[op] = &action{}
	return nil
}

// readWritten goes through `if v.F != nil { k := object.Key("F"); … }`.
func (m *model) readWritten(structName string, fn *ast.FuncDecl, lists map[string]string) error {
	for _, stmt := range fn.Body.List {
		keys := calls(stmt, "Key")
		if len(keys) == 0 {
			continue
		}
		wire, err := text(keys[0].Args[0])
		if err != nil || len(keys) != 1 {
			// A member that is always written is not inside an if: the key and its
			// value are statements of their own inside a block.
			return fmt.Errorf("%s.%s: %d keys in one statement", structName, wire, len(keys))
		}
		field, err := m.setName(structName, wire, fields(stmt, "v"))
		if err != nil {
			return err
		}
		for fnName, item := range lists {
			if len(calls(stmt, fnName)) > 0 {
				if err := m.setItem(structName, field, item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readDeserializers takes from the client's decoder: item names of lists in
// replies, and which replies have a result element.
func (m *model) readDeserializers(f *ast.File) error {
	fns := functions(f)
	lists := map[string]string{}
	for _, fn := range fns {
		if _, list := firstParam(fn); list && !strings.HasSuffix(fn.Name.Name, "Unwrapped") {
			names, err := cases(fn.Body)
			if err != nil || len(names) != 1 {
				return fmt.Errorf("%s reads %d kinds of items: %w", fn.Name.Name, len(names), err)
			}
			for item := range names {
				lists[fn.Name.Name] = item
			}
		}
	}
	for _, fn := range fns {
		if op, ok := strings.CutPrefix(receiver(fn), "awsAwsquery_deserializeOp"); ok && fn.Name.Name == "HandleDeserialize" {
			for _, c := range calls(fn.Body, "GetElement") {
				if name, err := text(c.Args[0]); err != nil || name != op+"Result" {
					return fmt.Errorf("%s reads its result from %q", op, name)
				}
				m.actions[op].result = true
			}
			continue
		}
		if name, list := firstParam(fn); name != "" && !list && !m.errors[name] {
			if err := m.readRead(name, fn, lists); err != nil {
				return err
			}
		}
	}
	return nil
}

// readRead goes through `case strings.EqualFold("F", …): … sv.F …`.
func (m *model) readRead(structName string, fn *ast.FuncDecl, lists map[string]string) error {
	clauses, err := cases(fn.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", fn.Name.Name, err)
	}
	for wire, clause := range clauses {
		field, err := m.setName(structName, wire, fields(clause, "sv"))
		if err != nil {
			return err
		}
		for fnName, item := range lists {
			if len(calls(clause, fnName+"Unwrapped")) > 0 {
				return fmt.Errorf("%s.%s is flattened, which the codec does not model", structName, wire)
			}
			if len(calls(clause, fnName)) > 0 {
				if err := m.setItem(structName, field, item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
