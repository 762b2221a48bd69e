package arch

import (
	"fmt"
	"go/ast"
	"go/token"
)

// plain are methods whose meaning the standard library fixes; they need no comment.
var plain = map[string]bool{
	"Error": true, "String": true, "Unwrap": true, "Is": true, "MarshalJSON": true, "UnmarshalJSON": true, "MarshalYAML": true,
	"UnmarshalYAML": true, "Len": true, "Less": true, "Swap": true, "Read": true, "Write": true, "Close": true, "ServeHTTP": true,
}

// Documented checks that every package and every exported name has a comment. A comment on a group of constants or variables
// covers the group.
func Documented(t *Tree) []string {
	var out []string
	for dir, files := range t.packages() {
		documented := false
		for _, f := range files {
			documented = documented || f.AST.Doc != nil
			for _, d := range f.AST.Decls {
				out = append(out, t.undocumented(d)...)
			}
		}
		if !documented {
			out = append(out, fmt.Sprintf("%s: the package has no comment", dir))
		}
	}
	return out
}

func (t *Tree) undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && !plain[d.Name.Name] && exportedReceiver(d) {
			return []string{t.at(d, "%s has no comment", d.Name.Name)}
		}
	case *ast.GenDecl:
		if d.Tok != token.IMPORT && (d.Doc == nil || d.Tok == token.TYPE) {
			return t.undocumentedSpecs(d)
		}
	}
	return nil
}

func (t *Tree) undocumentedSpecs(d *ast.GenDecl) []string {
	var out []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			alone := d.Doc != nil && len(d.Specs) == 1
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && !alone {
				out = append(out, t.at(s, "%s has no comment", s.Name.Name))
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil {
				out = append(out, t.at(s, "%s has no comment", s.Names[0].Name))
			}
		}
	}
	return out
}

// exportedReceiver is true for plain functions, and for methods of exported types.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
