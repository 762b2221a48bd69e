package arch

import (
	"fmt"
	"go/ast"
	"path"
	"strings"

	"github.com/fzipp/gocyclo"
)

// The limits on single things.
const (
	maxFunctionLines = 70
	maxCyclomatic    = 15
	maxNesting       = 4
	maxFileLines     = 600
	maxPackageFiles  = 25
	maxMethods       = 10
	maxParams        = 4
	maxMainLines     = 60
)

// Functions checks length, cyclomatic complexity and nesting of every function. Contract suites and functions that only return
// a declaration table are exempt from the length.
func Functions(t *Tree) []string {
	var out []string
	t.functions(func(f *File, fn *ast.FuncDecl) {
		name := fn.Name.Name
		if n := t.span(fn.Body); n > maxFunctionLines && !isTable(fn) && !isSuite(f) {
			out = append(out, t.at(fn, "%s has %d lines, at most %d", name, n, maxFunctionLines))
		}
		if n := gocyclo.Complexity(fn); n > maxCyclomatic {
			out = append(out, t.at(fn, "%s has a cyclomatic complexity of %d, at most %d", name, n, maxCyclomatic))
		}
		if n := nesting(fn.Body, 0); n > maxNesting {
			out = append(out, t.at(fn, "%s nests %d deep, at most %d", name, n, maxNesting))
		}
	})
	return out
}

// isSuite tells contract suites by the name of their package: storagetest, machinetest.
func isSuite(f *File) bool {
	return strings.HasSuffix(f.AST.Name.Name, "test")
}

// isTable tells a function that does nothing but return a literal, or the result of a call.
func isTable(fn *ast.FuncDecl) bool {
	if len(fn.Body.List) != 1 {
		return false
	}
	_, ok := fn.Body.List[0].(*ast.ReturnStmt)
	return ok
}

// nesting is the depth of the deepest control statement below n. An else-if is as deep as its if.
func nesting(n ast.Node, depth int) int {
	deepest := depth
	ast.Inspect(n, func(child ast.Node) bool {
		if child == n || child == nil {
			return true
		}
		switch s := child.(type) {
		case *ast.IfStmt:
			if parent, ok := n.(*ast.IfStmt); ok && parent.Else == s {
				deepest = max(deepest, nesting(s, depth))
				return false
			}
		case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt:
		default:
			return true
		}
		deepest = max(deepest, nesting(child, depth+1))
		return false
	})
	return deepest
}

// Files checks the length of files, without the lines of tables, and their number in a package.
func Files(t *Tree) []string {
	var out []string
	for _, f := range t.Go {
		if f.Generated {
			continue
		}
		if n := f.Lines - t.tableLines(f); n > maxFileLines {
			out = append(out, fmt.Sprintf("%s: %d lines outside tables, at most %d", f.Path, n, maxFileLines))
		}
		if path.Base(f.Path) == "main.go" && within(f.Path, "cmd") && f.Lines > maxMainLines {
			out = append(out, fmt.Sprintf("%s: %d lines, at most %d in a main", f.Path, f.Lines, maxMainLines))
		}
	}
	for dir, files := range t.packages() {
		n := 0
		for _, f := range files {
			if !f.Generated {
				n++
			}
		}
		if n > maxPackageFiles {
			out = append(out, fmt.Sprintf("%s: %d files, at most %d in a package", dir, n, maxPackageFiles))
		}
	}
	return out
}

// tableLines counts the lines of package-level literals and of functions that only return one.
func (t *Tree) tableLines(f *File) int {
	n := 0
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body != nil && isTable(d) {
				n += t.span(d)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) > 0 {
					n += t.span(v)
				}
			}
		}
	}
	return n
}

// Interfaces checks the number of methods that an interface declares itself.
func Interfaces(t *Tree) []string {
	var out []string
	for _, f := range t.Go {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if it, ok := spec.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > maxMethods {
				out = append(out, t.at(spec, "interface %s has %d methods, at most %d", spec.Name.Name, it.Methods.NumFields(), maxMethods))
			}
			return true
		})
	}
	return out
}

// Params checks the number of parameters of functions and of interface methods, a leading context not counted.
func Params(t *Tree) []string {
	var out []string
	check := func(at ast.Node, name string, ft *ast.FuncType) {
		n := ft.Params.NumFields()
		if n > 0 && isContext(ft.Params.List[0].Type) {
			n--
		}
		if n > maxParams {
			out = append(out, t.at(at, "%s takes %d parameters, at most %d after the context; a struct would name them", name, n, maxParams))
		}
	}
	for _, f := range t.Go {
		if f.Generated || f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				check(n, n.Name.Name, n.Type)
			case *ast.InterfaceType:
				for _, m := range n.Methods.List {
					if ft, ok := m.Type.(*ast.FuncType); ok {
						check(m, m.Names[0].Name, ft)
					}
				}
			}
			return true
		})
	}
	return out
}

func isContext(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Context"
}
