package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
)

// functions are the declarations with a body.
func functions(f *ast.File) []*ast.FuncDecl {
	var out []*ast.FuncDecl
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			out = append(out, fn)
		}
	}
	return out
}

// receiver is the name of the receiver's type, "" for a plain function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	name, _ := typeName(fn.Recv.List[0].Type)
	return name
}

// firstParam is the type named by the parameter v of a (de)serializer or
// validator, and whether it is a list of it. "" when there is no parameter v.
func firstParam(fn *ast.FuncDecl) (name string, list bool) {
	if fn.Recv != nil || len(fn.Type.Params.List) == 0 {
		return "", false
	}
	p := fn.Type.Params.List[0]
	if len(p.Names) == 0 || p.Names[0].Name != "v" {
		return "", false
	}
	return typeName(p.Type)
}

// typeName strips stars, brackets and the package from a type.
func typeName(t ast.Expr) (name string, list bool) {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ArrayType:
		name, _ = typeName(t.Elt)
		return name, true
	case *ast.SelectorExpr:
		return t.Sel.Name, false
	case *ast.Ident:
		return t.Name, false
	}
	return "", false
}

// callee is the last name of what is called.
func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// calls are all calls of a function or method of that name inside n, in order.
func calls(n ast.Node, name string) []*ast.CallExpr {
	var out []*ast.CallExpr
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && callee(c) == name {
			out = append(out, c)
		}
		return true
	})
	return out
}

// fields are the members of the variable that n touches, each once.
func fields(n ast.Node, variable string) []string {
	var out []string
	ast.Inspect(n, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == variable && !slices.Contains(out, s.Sel.Name) {
				out = append(out, s.Sel.Name)
			}
		}
		return true
	})
	return out
}

// cases are the clauses `case strings.EqualFold("name", …)` inside n, by name.
func cases(n ast.Node) (map[string]ast.Node, error) {
	out := map[string]ast.Node{}
	var failed error
	ast.Inspect(n, func(n ast.Node) bool {
		c, ok := n.(*ast.CaseClause)
		if !ok || len(c.List) != 1 {
			return true
		}
		call, ok := c.List[0].(*ast.CallExpr)
		if !ok || callee(call) != "EqualFold" {
			return true
		}
		name, err := text(call.Args[0])
		if err != nil {
			failed = err
		}
		out[name] = c
		return true
	})
	return out, failed
}

// text is the value of a string constant.
func text(e ast.Expr) (string, error) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", fmt.Errorf("a %T where a string constant should be", e)
	}
	return strconv.Unquote(lit.Value)
}
