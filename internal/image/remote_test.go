package image_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/client/simplestreams/tree"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/op"
	"lxd/internal/store"
)

// shop is an image server with one product, in one file or two.
type shop struct {
	*httptest.Server
	dir   string
	split bool
	// hide, if set, answers instead.
	hide http.HandlerFunc
}

func newShop(t *testing.T, split bool) *shop {
	t.Helper()
	s := &shop{dir: t.TempDir(), split: split}
	files := http.FileServer(http.Dir(s.dir))
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.hide != nil {
			s.hide(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// offer puts a build on offer and returns its fingerprint.
func (s *shop) offer(t *testing.T, serial, note string) string {
	t.Helper()
	name := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, b, 0o600))
		return path
	}
	i := tree.Image{OS: "Debian", Release: "12", Arch: "amd64", Aliases: []string{"debian"}, Serial: serial}
	bytes := pack(t, append(goodImage(), entry{name: "rootfs/note", body: note}))
	if s.split {
		meta, root := pack(t, append(goodMeta(), entry{name: "templates/note", body: note})), compressions(t)[".tar.xz"](pack(t, goodRoot()))
		i.Meta, i.Root = name(meta), name(root)
		bytes = append(meta, root...)
	} else {
		i.Meta = name(bytes)
	}
	must(t, tree.Write(s.dir, []tree.Image{i}))
	return fingerprintOf(bytes)
}

func (s *shop) certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func (s *shop) source(alias string) *api.ImagesPostSource {
	return &api.ImagesPostSource{Type: "image", Mode: "pull", ImageSource: api.ImageSource{
		Server: s.URL, Protocol: "simplestreams", Alias: alias, Certificate: s.certificate()}}
}

// order makes an image and waits for it.
func (w *world) order(t *testing.T, post api.ImagesPost) (api.Operation, error) {
	t.Helper()
	spec, err := w.Create(t.Context(), image.Order{Project: "default", Post: post, Open: true, May: func(string, string, string) error { return nil }})
	if err != nil {
		return api.Operation{}, err
	}
	return w.run(t, spec, nil)
}

// cache fetches an image as the creation of an instance does.
func (w *world) cache(t *testing.T, src *api.ImagesPostSource) (img api.Image, err error) {
	t.Helper()
	_, err = w.run(t, op.Spec{Run: func(ctx context.Context, task *op.Task) (err error) {
		img, err = w.Fetch(ctx, task, "default", *src)
		return err
	}}, nil)
	return img, err
}

func TestFetch(t *testing.T) {
	for _, split := range []bool{false, true} {
		w, s := newWorld(t), newShop(t, split)
		fp := s.offer(t, "20250101", "one")
		post := api.ImagesPost{Source: s.source("debian"), Aliases: []api.ImageAlias{{Name: "mine"}}}
		post.AutoUpdate, post.Public = true, true
		o, err := w.order(t, post)
		if err != nil || o.Metadata["fingerprint"] != fp {
			t.Fatalf("%+v %v", o.Metadata, err)
		}
		img, err := w.Resolve(t.Context(), "default", "mine")
		if err != nil || img.Fingerprint != fp || !img.AutoUpdate || !img.Public || img.Cached || img.Properties["serial"] != "20250101" ||
			img.UpdateSource == nil || img.UpdateSource.Alias != "debian" {
			t.Fatalf("%+v %v", img, err)
		}
		root, err := w.unpack(t, fp)
		if b, e := os.ReadFile(filepath.Join(root, "rootfs/etc/hostname")); err != nil || e != nil || string(b) != "c1\n" {
			t.Errorf("%q %v %v", b, err, e)
		}
		if _, err := w.order(t, post); !errs.Is(err, errs.Conflict) { // the alias is taken
			t.Errorf("%v", err)
		}
		post.Aliases = nil
		if o, err := w.order(t, post); err != nil || o.Metadata["fingerprint"] != fp {
			t.Errorf("an image that is there already: %v", err)
		}
	}
}

// TestCache sees that an image that came along is kept apart, is not asked for again, and becomes one of the project's when it is copied.
func TestCache(t *testing.T) {
	w, s := newWorld(t), newShop(t, false)
	fp := s.offer(t, "20250101", "one")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if img, err := w.cache(t, s.source("debian")); err != nil || img.Fingerprint != fp || !img.Cached || !img.AutoUpdate {
				t.Errorf("%+v %v", img, err)
			}
		})
	}
	wait.Wait()
	s.hide = func(http.ResponseWriter, *http.Request) { t.Error("the server was asked again") }
	if img, err := w.cache(t, s.source("debian")); err != nil || img.Fingerprint != fp {
		t.Errorf("%+v %v", img, err)
	}
	exact := s.source("")
	exact.Fingerprint = fp
	if img, err := w.cache(t, exact); err != nil || img.Fingerprint != fp {
		t.Errorf("%+v %v", img, err)
	}
	s.hide = nil
	w.settings[image.AutoUpdateInterval] = "0"
	if _, err := w.cache(t, s.source("debian")); err != nil {
		t.Error(err)
	}
	if _, err := w.order(t, api.ImagesPost{Source: s.source("debian")}); err != nil {
		t.Error(err)
	}
	if img, err := w.Resolve(t.Context(), "default", fp); err != nil || img.Cached {
		t.Errorf("%+v %v", img, err)
	}
}

func TestRefresh(t *testing.T) {
	w, s := newWorld(t), newShop(t, true)
	first := s.offer(t, "20250101", "one")
	if _, err := w.order(t, api.ImagesPost{Source: s.source("debian"), Aliases: []api.ImageAlias{{Name: "mine"}}}); err != nil {
		t.Fatal(err)
	}
	refresh := func() bool {
		t.Helper()
		img, err := w.Resolve(t.Context(), "default", "mine")
		must(t, err)
		spec, err := w.Refresh(t.Context(), "default", img.Fingerprint)
		o, err := w.run(t, spec, err)
		must(t, err)
		return o.Metadata["refreshed"] == true
	}
	if refresh() {
		t.Error("refreshed without a newer version")
	}
	second := s.offer(t, "20250102", "two")
	if !refresh() || refresh() {
		t.Error("not refreshed, or twice")
	}
	if img, err := w.Resolve(t.Context(), "default", "mine"); err != nil || img.Fingerprint != second {
		t.Errorf("%+v %v", img, err)
	}
	if _, err := w.Resolve(t.Context(), "default", first); !errs.Is(err, errs.NotFound) {
		t.Errorf("the old version: %v", err)
	}
	if left, _ := filepath.Glob(w.dir + "/" + first + "*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if !strings.Contains(w.actions(), api.LifecycleImageRefreshed) {
		t.Error(w.actions())
	}
}

func TestTender(t *testing.T) {
	w, s := newWorld(t), newShop(t, false)
	first := s.offer(t, "20250101", "one")
	if _, err := w.cache(t, s.source("debian")); err != nil {
		t.Fatal(err)
	}
	tender, now := w.Tender(w.ops), time.Now()
	there := func() string {
		t.Helper()
		all, err := w.List(t.Context(), "default", true)
		must(t, err)
		var names []string
		for _, i := range all {
			names = append(names, i.Fingerprint)
		}
		return strings.Join(names, " ")
	}
	tender.Tend(t.Context(), now)
	if there() != first {
		t.Errorf("%s, not %s", there(), first)
	}
	second := s.offer(t, "20250102", "two")
	tender.Tend(t.Context(), now.Add(5*time.Hour)) // not due yet
	if there() != first {
		t.Error("brought up to date too early")
	}
	w.settings[image.AutoUpdateCached] = "false"
	tender.Tend(t.Context(), now.Add(7*time.Hour))
	if there() != first {
		t.Error("brought up to date although cached images are not to be")
	}
	w.settings[image.AutoUpdateCached] = "true"
	tender.Tend(t.Context(), now.Add(7*time.Hour))
	if there() != second {
		t.Errorf("%s, not %s", there(), second)
	}
	w.settings[image.RemoteCacheExpiry] = "0"
	tender.Tend(t.Context(), now.Add(1000*24*time.Hour))
	if there() != second {
		t.Error("removed although they never are to be")
	}
	w.settings[image.RemoteCacheExpiry] = "10"
	tender.Tend(t.Context(), now.Add(9*24*time.Hour))
	if there() != second {
		t.Error("removed too early")
	}
	s.hide = http.NotFound
	tender.Tend(t.Context(), now.Add(11*24*time.Hour))
	if there() != "" {
		t.Errorf("not removed: %s", there())
	}
	w.clean(t)
}

// TestFetchFails has servers that are hostile, and callers that may not go everywhere; nothing is left.
func TestFetchFails(t *testing.T) {
	w, s := newWorld(t), newShop(t, true)
	s.offer(t, "20250101", "one")
	for name, c := range map[string]struct {
		change func(path string, b []byte) []byte
		want   string
	}{
		"root changed":       {at("squashfs|root.tar.xz", func(b []byte) []byte { b[len(b)-1]++; return b }), "has the hash"},
		"root cut":           {at("squashfs|root.tar.xz", func(b []byte) []byte { return b[:len(b)/2] }), "ended after"},
		"root longer":        {at("squashfs|root.tar.xz", func(b []byte) []byte { return append(b, 0) }), "more than"},
		"metadata changed":   {at("lxd.tar.xz", func(b []byte) []byte { b[len(b)-1]++; return b }), "has the hash"},
		"another combined":   {at("images.json", swap), "fingerprint"},
		"no such alias":      {at("images.json", func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), `"debian"`, `"other"`)) }), "not found"},
		"documents are junk": {at("images.json", func([]byte) []byte { return []byte("<html>") }), "no proper document"},
	} {
		s.hide = func(out http.ResponseWriter, r *http.Request) {
			b, err := os.ReadFile(filepath.Join(s.dir, filepath.Clean(r.URL.Path)))
			if err != nil {
				http.NotFound(out, r)
				return
			}
			_, _ = out.Write(c.change(r.URL.Path, b))
		}
		if _, err := w.order(t, api.ImagesPost{Source: s.source("debian")}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		w.boot(t) // forgets what the server said
	}
	s.hide = nil
	other := s.source("debian")
	other.Certificate = ""
	if _, err := w.order(t, api.ImagesPost{Source: other}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	spec, err := w.Create(t.Context(), image.Order{Project: "default", Post: api.ImagesPost{Source: s.source("debian")}})
	if _, err = w.run(t, spec, err); !errs.Is(err, errs.Forbidden) {
		t.Errorf("the server's own network for one who is not an administrator: %v", err)
	}
	w.clean(t)
}

func at(what string, change func([]byte) []byte) func(string, []byte) []byte {
	return func(path string, b []byte) []byte {
		for name := range strings.SplitSeq(what, "|") {
			if strings.HasSuffix(path, "/"+name) {
				return change(b)
			}
		}
		return b
	}
}

// swap announces another fingerprint.
func swap(b []byte) []byte {
	key := `"combined_rootxz_sha256": "`
	i := strings.Index(string(b), key) + len(key)
	return []byte(string(b[:i]) + strings.Repeat("a", 64) + string(b[i+64:]))
}

// TestFetchCrash ends the daemon at each step of a fetch and of a refresh.
func TestFetchCrash(t *testing.T) {
	for _, c := range []struct{ kind, step, moment string }{
		{"image-fetch", "download", "after"}, {"image-fetch", "files", "before"}, {"image-fetch", "files", "after"}, {"image-fetch", "record", "after"},
		{"image-refresh", "download", "after"}, {"image-refresh", "files", "after"}, {"image-refresh", "record", "after"},
		{"image-refresh", "volumes", "after"}, {"image-refresh", "drop", "after"},
	} {
		w, s := newWorld(t), newShop(t, false)
		fps := []string{s.offer(t, "20250101", "one")}
		if c.kind == "image-refresh" {
			if _, err := w.order(t, api.ImagesPost{Source: s.source("debian")}); err != nil {
				t.Fatal(err)
			}
			fps = append(fps, s.offer(t, "20250102", "two"))
		}
		stop(t, w, c.kind, c.step, c.moment, errors.New("crash"))
		if c.kind == "image-fetch" {
			_, _ = w.order(t, api.ImagesPost{Source: s.source("debian")})
		} else {
			spec, err := w.Refresh(t.Context(), "default", fps[0])
			_, _ = w.run(t, spec, err)
		}
		restart(t, w)
		var have []string
		must(t, w.store.View(t.Context(), func(tx store.Tx) error {
			for r, err := range image.Collection.All(tx, "") {
				must(t, err)
				have = append(have, r.Fingerprint)
			}
			return nil
		}))
		files, _ := filepath.Glob(w.dir + "/*")
		if len(files) != len(have) || len(have) > 1 || c.kind == "image-refresh" && len(have) != 1 {
			t.Errorf("%+v: records %v, files %v", c, have, files)
		}
		for _, fp := range have {
			if _, err := w.unpack(t, fp); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}
