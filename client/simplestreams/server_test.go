package simplestreams_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lxd/client/simplestreams"
	"lxd/client/simplestreams/tree"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve offers a handler over https and makes a client of it.
func serve(t *testing.T, h http.Handler) *simplestreams.Server {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	s, err := simplestreams.New(srv.URL, "x86_64", srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, s *simplestreams.Server, f simplestreams.File) (string, error) {
	t.Helper()
	r, err := s.Open(t.Context(), f)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// forest is a tree of two products: one with two builds, one for another architecture.
func forest(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := tree.Write(dir, []tree.Image{
		{OS: "Debian", Release: "12", Arch: "amd64", Aliases: []string{"debian/12", "bookworm"}, Serial: "20250101_0300", Label: "release",
			EOL: "2028-06-30", Requirements: map[string]string{"secureboot": "false"}, Meta: write(t, "m", "old meta"), Root: write(t, "r", "hsqs old root")},
		{OS: "Debian", Release: "12", Arch: "amd64", Aliases: []string{"debian/12", "bookworm"}, Serial: "20250102_0300", Label: "release",
			Meta: write(t, "m", "new meta"), Root: write(t, "r", "hsqs new root")},
		{OS: "Debian", Release: "12", Arch: "amd64", Aliases: []string{"debian/12", "bookworm"}, Serial: "20250102_0300", Label: "release",
			Meta: write(t, "m", "new meta"), Root: write(t, "r", "QFI\xfb disk")},
		{OS: "Debian", Release: "12", Arch: "arm64", Aliases: []string{"debian/12"}, Serial: "20250102", Meta: write(t, "u", "unified")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestServer(t *testing.T) {
	s := serve(t, http.FileServer(http.Dir(forest(t))))
	images, err := s.Images(t.Context())
	if err != nil || len(images) != 4 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	i, err := s.Find(t.Context(), "bookworm", "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"os": "Debian", "release": "12", "architecture": "amd64", "label": "release", "serial": "20250102_0300",
		"type": "squashfs", "description": "Debian 12 amd64 (release) (20250102_0300)", "requirements.secureboot": "false"}
	if fmt.Sprint(i.Properties) != fmt.Sprint(want) {
		t.Errorf("properties: %v", i.Properties)
	}
	if i.Type != "container" || i.Architecture != "x86_64" || !i.Public || i.Size != 8+13 || i.ExpiresAt.Format("2006") != "2028" || len(i.Aliases) != 4 {
		t.Errorf("%+v", i)
	}
	for f, want := range map[simplestreams.File]string{i.Meta: "new meta", i.Root: "hsqs new root"} {
		if got, err := read(t, s, f); err != nil || got != want {
			t.Errorf("%q %v", got, err)
		}
	}
	for name, typ := range map[string]string{"debian/12/arm64": "container", "debian/12": "virtual-machine", i.Fingerprint[:12]: "", "debian/12/amd64": ""} {
		found, err := s.Find(t.Context(), name, typ)
		if err != nil || typ != "" && found.Type != typ || typ == "container" && found.Architecture != "aarch64" {
			t.Errorf("%s %s: %+v %v", name, typ, found, err)
		}
	}
	for _, name := range []string{"nothing", "bookworm/arm64", "", i.Fingerprint[:11]} {
		if _, err := s.Find(t.Context(), name, ""); !errors.Is(err, simplestreams.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	aliases, err := s.Aliases(t.Context())
	if err != nil || len(aliases) != 9 {
		t.Errorf("%d aliases: %+v, %v", len(aliases), aliases, err)
	}
}

// TestServerIsAskedForChangesOnly sees that what has not changed is not sent again, and what has is taken in.
func TestServerIsAskedForChangesOnly(t *testing.T) {
	dir := forest(t)
	var sent atomic.Int64
	files := http.FileServer(http.Dir(dir))
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(dir, r.URL.Path))
		if err == nil && strings.HasPrefix(r.URL.Path, "/streams") {
			w.Header().Set("ETag", fmt.Sprintf(`"%d-%x"`, len(b), b[len(b)-40:]))
		}
		if r.Header.Get("If-None-Match") == "" {
			sent.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	for range 3 {
		if _, err := s.Find(t.Context(), "bookworm", ""); err != nil {
			t.Fatal(err)
		}
	}
	if sent.Load() != 2 {
		t.Errorf("%d documents were sent instead of 2", sent.Load())
	}
	if err := tree.Write(dir, []tree.Image{{OS: "Alpine", Release: "3", Arch: "amd64", Aliases: []string{"alpine"}, Serial: "20250103", Meta: write(t, "u", "alpine")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), "alpine", ""); err != nil {
		t.Error(err)
	}
	if _, err := s.Find(t.Context(), "bookworm", ""); !errors.Is(err, simplestreams.ErrNotFound) {
		t.Errorf("what was removed is still found: %v", err)
	}
}

const hash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// offer serves one product with one unified image of that path, size and hash, the body of which is "body".
func offer(t *testing.T, path string, size int64, sum string) *simplestreams.Server {
	t.Helper()
	item := map[string]any{"ftype": "lxd_combined.tar.gz", "path": path, "size": size, "sha256": sum}
	prod := map[string]any{"aliases": "x,bad\nname", "arch": "amd64", "os": "O\x1b[31m", "versions": map[string]any{
		"20250101": map[string]any{"items": map[string]any{"a": item}}, "short": map[string]any{"items": map[string]any{"a": item}}}}
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/streams/v1/index.json":
			_ = json.NewEncoder(w).Encode(map[string]any{"index": map[string]any{
				"a": map[string]any{"datatype": "image-downloads", "path": "p.json", "products": []string{"p"}},
				"b": map[string]any{"datatype": "image-downloads", "path": "../../etc/passwd", "products": []string{"p"}},
				"c": map[string]any{"datatype": "other", "path": "other.json", "products": []string{"p"}},
			}})
		case "/p.json":
			_ = json.NewEncoder(w).Encode(map[string]any{"products": map[string]any{"p": prod}})
		default:
			_, _ = w.Write([]byte("body"))
		}
	}))
}

// TestHostileProducts has paths that lead away, hashes that are none, sizes that are wrong.
func TestHostileProducts(t *testing.T) {
	for _, path := range []string{"../x", "/x", "a/../../x", "http://127.0.0.1/x", "//host/x", `..\x`, "x?y", "x#y", "", "a\nb"} {
		if images, err := offer(t, path, 4, hash).Images(t.Context()); err != nil || len(images) != 0 {
			t.Errorf("path %q: %+v %v", path, images, err)
		}
	}
	for _, sum := range []string{"", "../../etc/passwd", strings.ToUpper(hash), hash[1:], hash + "a"} {
		if images, err := offer(t, "x", 4, sum).Images(t.Context()); err != nil || len(images) != 0 {
			t.Errorf("hash %q: %+v %v", sum, images, err)
		}
	}
	for size, want := range map[int64]string{4: "has the hash", 3: "more than the 3", 5: "ended after 4 of 5"} {
		s := offer(t, "x", size, hash)
		images, err := s.Images(t.Context())
		if err != nil || len(images) != 1 || images[0].Properties["os"] != "" || len(images[0].Aliases) != 2 {
			t.Fatalf("%+v %v", images, err)
		}
		if _, err := read(t, s, images[0].Meta); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if images, err := offer(t, "x", -1, hash).Images(t.Context()); err != nil || len(images) != 0 {
		t.Errorf("negative size: %+v %v", images, err)
	}
}

// endless is a document without end.
func endless(w http.ResponseWriter, _ *http.Request) {
	for chunk := bytes.Repeat([]byte(" "), 1<<20); ; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestBrokenServers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"larger than": endless, "404": http.NotFound, "no proper document": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	} {
		if _, err := serve(t, h).Images(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }))
	if _, err := s.Images(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a server that does not answer: %v", err)
	}
	for _, base := range []string{"http://host", "host", "https://user:pw@host/", "https://", "https://h/?q", "file:///etc"} {
		if _, err := simplestreams.New(base, "x86_64", nil); err == nil {
			t.Errorf("%q is accepted", base)
		}
	}
}
