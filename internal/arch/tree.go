// Package arch checks the rules that the code of this repository keeps: who may import whom, how long and how tangled things
// may get, what must be documented, and what must not appear at all.
//
// A check takes a parsed Tree and returns its complaints, one a line, so that each can be shown to fail on a small fixture.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Module is the import path of the repository.
const Module = "lxd"

// Tree is a repository: its Go files parsed, its other text files by path.
type Tree struct {
	Fset *token.FileSet
	Go   []*File
	Text map[string]string
}

// File is a Go file.
type File struct {
	Path      string
	AST       *ast.File
	Lines     int
	Test      bool
	Generated bool
}

// Check looks for one kind of violation and describes each that it finds.
type Check func(*Tree) []string

// Dir is the folder of the file, which is also its import path below the module.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Load reads a repository. Hidden folders, build results and binary files are left out.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{Fset: token.NewFileSet(), Text: map[string]string{}}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p == "bin" || p != "." && strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || p == ".git" {
			return nil
		}
		return t.add(fsys, p)
	})
	return t, err
}

func (t *Tree) add(fsys fs.FS, p string) error {
	data, err := fs.ReadFile(fsys, p)
	if err != nil {
		return err
	}
	if !utf8.Valid(data) || slices.Contains(data, 0) {
		return nil
	}
	t.Text[p] = string(data)
	if !strings.HasSuffix(p, ".go") || strings.Contains(p, "testdata/") {
		return nil
	}
	parsed, err := parser.ParseFile(t.Fset, p, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Go = append(t.Go, &File{
		Path:      p,
		AST:       parsed,
		Lines:     strings.Count(string(data), "\n"),
		Test:      strings.HasSuffix(p, "_test.go"),
		Generated: strings.HasSuffix(p, "_gen.go") || strings.HasSuffix(p, "_gen_test.go"),
	})
	return nil
}

// at formats a complaint about a place in the code.
func (t *Tree) at(n ast.Node, format string, args ...any) string {
	pos := t.Fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", pos.Filename, pos.Line, fmt.Sprintf(format, args...))
}

// span is the number of lines of a node.
func (t *Tree) span(n ast.Node) int {
	return t.Fset.Position(n.End()).Line - t.Fset.Position(n.Pos()).Line + 1
}

// packages groups the files that are not tests by folder.
func (t *Tree) packages() map[string][]*File {
	dirs := map[string][]*File{}
	for _, f := range t.Go {
		if !f.Test {
			dirs[f.Dir()] = append(dirs[f.Dir()], f)
		}
	}
	return dirs
}

// functions calls visit for each declared function with a body, outside tests and generated files.
func (t *Tree) functions(visit func(*File, *ast.FuncDecl)) {
	for _, f := range t.Go {
		if f.Test || f.Generated {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				visit(f, fn)
			}
		}
	}
}
