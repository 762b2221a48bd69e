package arch

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// NoInit forbids init functions: they run in an order that nobody reads, and tests cannot leave them out.
func NoInit(t *Tree) []string {
	var out []string
	t.functions(func(_ *File, fn *ast.FuncDecl) {
		if fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, t.at(fn, "init functions are not used here; call it from where it is needed"))
		}
	})
	return out
}

// NoGlobalState forbids package-level variables that hold state. Left over are errors, expressions, tables and the like: they
// have a value from the start, and nothing in their package changes them.
func NoGlobalState(t *Tree) []string {
	var out []string
	for dir, files := range t.packages() {
		info := resolve(t.Fset, dir, files)
		globals := map[types.Object]bool{}
		for _, f := range files {
			for _, d := range f.AST.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
					out = append(out, t.stateful(g, info, globals)...)
				}
			}
		}
		for _, f := range files {
			out = append(out, t.mutations(f, info, globals)...)
		}
	}
	return out
}

// resolve links names to what they mean inside the package. Imports stay unknown, which names of the package do not need.
func resolve(fset *token.FileSet, dir string, files []*File) *types.Info {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	asts := make([]*ast.File, 0, len(files))
	for _, f := range files {
		asts = append(asts, f.AST)
	}
	conf := types.Config{Error: func(error) {}, Importer: noImports{}}
	// The errors are all about imports; the program is compiled elsewhere.
	_, _ = conf.Check(dir, fset, asts, info)
	return info
}

// noImports fails every import.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not loaded") }

// stateful complains about variables that can only be of use if something changes them, and collects the others.
func (t *Tree) stateful(g *ast.GenDecl, info *types.Info, globals map[types.Object]bool) []string {
	var out []string
	for _, s := range g.Specs {
		v := s.(*ast.ValueSpec)
		for i, name := range v.Names {
			if name.Name == "_" {
				continue
			}
			globals[info.Defs[name]] = true
			embedded := strings.Contains(v.Doc.Text()+g.Doc.Text(), "go:embed") || hasDirective(g.Doc) || hasDirective(v.Doc)
			switch {
			case i < len(v.Values) && isEmpty(v.Values[i]):
				out = append(out, t.at(name, "%s starts empty, so something must change it: global state", name.Name))
			case len(v.Values) == 0 && !embedded:
				out = append(out, t.at(name, "%s has no value, so something must change it: global state", name.Name))
			}
		}
	}
	return out
}

// hasDirective tells a //go: comment, such as the one that embeds a file.
func hasDirective(c *ast.CommentGroup) bool {
	return c != nil && slices.ContainsFunc(c.List, func(l *ast.Comment) bool { return strings.HasPrefix(l.Text, "//go:") })
}

// isEmpty tells values that wait to be filled: make, new, {} and & of it.
func isEmpty(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.Ident)
		return ok && (f.Name == "make" || f.Name == "new")
	case *ast.UnaryExpr:
		return e.Op == token.AND && isEmpty(e.X)
	case *ast.CompositeLit:
		// An empty array is a table that happens to have no rows; it cannot grow.
		array, ok := e.Type.(*ast.ArrayType)
		_, isStruct := e.Type.(*ast.Ident)
		return len(e.Elts) == 0 && !isStruct && !(ok && array.Len != nil)
	}
	return false
}

// mutations finds assignments to the variables, to their parts, and uses of their address.
func (t *Tree) mutations(f *File, info *types.Info, globals map[types.Object]bool) []string {
	var out []string
	check := func(e ast.Expr, how string) {
		id := root(e)
		if id == nil {
			return
		}
		if obj := info.Uses[id]; obj != nil && globals[obj] {
			out = append(out, t.at(e, "package-level variable %s is %s: global state", id.Name, how))
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				check(left, "assigned to")
			}
		case *ast.IncDecStmt:
			check(n.X, "assigned to")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				check(n.X, "used by address")
			}
		}
		return true
	})
	return out
}

// root is the variable that an expression such as a.b[c] is part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}
