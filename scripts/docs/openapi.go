package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"

	"lxd/internal/app"
	"lxd/internal/rest/openapi"
	"lxd/scripts/internal/table"
)

// sources is where this program is told from: the repository that it is part of, even when it writes elsewhere.
type sources struct{ root string }

// describe adds the description of the API.
func (s sources) describe(pages map[string]string) error {
	texts, err := comments(filepath.Join(s.root, "api"))
	if err != nil {
		return err
	}
	lines, err := table.Read(s.root, "endpoints")
	if err != nil {
		return err
	}
	ids, used := map[string]string{}, map[string]bool{}
	for _, r := range lines {
		id, _, _ := strings.Cut(r["operation_ids"], ";")
		if used[id] { // the table has some twice
			continue
		}
		ids[openapi.Canonical(r["method"]+" "+r["path"])], used[id] = id, true
	}
	doc := openapi.Build(openapi.Source{Texts: texts, IDs: ids}, app.Routes()...)
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if err := openapi.Validate(context.Background(), b); err != nil {
		return fmt.Errorf("the description of the API: %w", err)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, b, "", " "); err != nil {
		return err
	}
	pages[filepath.Join("api", "openapi.json")] = text.String() + "\n"
	return nil
}

// comments are the comments of all structs in a folder and of their fields.
func comments(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				note(d, texts)
			}
			return true
		})
	}
	return texts, nil
}

func note(d *ast.GenDecl, texts map[string]string) {
	for _, spec := range d.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		texts[t.Name.Name] = line(d.Doc)
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				texts[t.Name.Name+"."+name.Name] = line(f.Doc)
			}
		}
	}
}

// line is a comment in one line.
func line(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	return strings.Join(strings.Fields(c.Text()), " ")
}
