package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/host/shelf"
	"lxd/internal/image"
	"lxd/internal/image/source"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/store"
)

// world is an image service over a store in memory and folders of its own.
type world struct {
	*image.Service
	store    store.Store
	ops      *op.Manager
	dir, tmp string
	hook     op.Hook
	crashed  *saved // what a crash would have left
	// settings is the server's configuration; content is what there is to publish.
	settings map[string]string
	content  image.Content

	mu      sync.Mutex
	changes []event.Change
	dropped []string
}

// Content stands in for instances.
func (w *world) Content(_ context.Context, _, name string) (image.Content, error) {
	if name != "c1" && name != "c1/s0" {
		return image.Content{}, errs.Newf(errs.NotFound, "instance %q not found", name)
	}
	return w.content, nil
}

// DeleteImage stands in for storage.
func (w *world) DeleteImage(_ context.Context, fingerprint string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped = append(w.dropped, fingerprint)
	return nil
}

// Publish throws events of operations away.
func (w *world) Publish(api.Event) {}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), tmp: t.TempDir(), settings: map[string]string{
		image.AutoUpdateCached: "true", image.AutoUpdateInterval: "6", image.RemoteCacheExpiry: "10", image.Compression: "gzip"}}
	w.store = store.NewMem(store.Options{OnAnnounce: func(ev any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, ev.(event.Change))
	}})
	t.Cleanup(func() { _ = w.store.Close() })
	w.boot(t)
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error {
		for _, p := range []project.Record{{Name: "default", Config: ownImages}, {Name: "other", Config: ownImages}, {Name: "guest"}} {
			if err := project.Collection.Insert(tx, p); err != nil {
				return err
			}
		}
		return profile.Collection.Insert(tx, profile.Record{Project: "default", Name: "default", NetworkProject: "default"})
	}))
	return w
}

var ownImages = map[string]string{"features.images": "true", "features.profiles": ""}

// boot makes the service anew, as a start of the daemon does.
func (w *world) boot(t testing.TB) {
	t.Helper()
	w.ops = op.NewManager(t.Context(), op.Options{Store: w.store, Publish: w, Location: "none",
		Hook: func(kind, step, moment string) error {
			if w.hook == nil {
				return nil
			}
			return w.hook(kind, step, moment)
		}})
	setting := func(_ context.Context, key string) (string, error) { return w.settings[key], nil }
	w.Service = image.New(image.Deps{Store: w.store, Volumes: w, Files: shelf.New(w.dir), Tmp: w.tmp, Setting: setting, Contents: w,
		Sources: &source.Sources{Arch: "x86_64", Agent: "test"}})
	must(t, w.Service.Start(w.ops))
	must(t, w.ops.Recover(t.Context()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs an operation to its end.
func (w *world) run(t testing.TB, spec op.Spec, err error) (api.Operation, error) {
	t.Helper()
	must(t, err)
	o, err := w.ops.Start(t.Context(), spec)
	if err != nil {
		return api.Operation{}, err
	}
	err = o.Wait(t.Context())
	return o.API(), err
}

// send uploads a body with headers, and imports it.
func (w *world) send(t testing.TB, body io.Reader, header ...string) (api.Operation, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/1.0/images", body)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	proj := "default"
	if p := r.Header.Get("project"); p != "" {
		proj = p
	}
	up, err := w.Receive(r)
	if err != nil {
		return api.Operation{}, err
	}
	spec, err := w.Import(t.Context(), proj, up)
	return w.run(t, spec, err)
}

// sendSplit uploads two files.
func (w *world) sendSplit(t testing.TB, meta, root []byte, rootName string, header ...string) (api.Operation, error) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, p := range []struct {
		name, file string
		data       []byte
	}{{"metadata", "meta.tar", meta}, {rootName, "root.file", root}} {
		out, err := form.CreateFormFile(p.name, p.file)
		must(t, err)
		_, err = out.Write(p.data)
		must(t, err)
	}
	must(t, form.Close())
	return w.send(t, &b, append(header, "Content-Type", form.FormDataContentType())...)
}

// clean fails if anything of an image is left: records, files, journals.
func (w *world) clean(t testing.TB) {
	t.Helper()
	for _, dir := range []string{w.dir, w.tmp} {
		left, err := os.ReadDir(dir)
		must(t, err)
		for _, f := range left {
			t.Errorf("left over: %s", filepath.Join(dir, f.Name()))
		}
	}
	must(t, w.store.View(t.Context(), func(tx store.Tx) error {
		for _, c := range []string{"image", "image_alias", "operation"} {
			for e := range tx.Scan(c, "") {
				t.Errorf("left over: record %s %s", c, e.Key)
			}
		}
		return nil
	}))
}

// actions are the lifecycle events so far.
func (w *world) actions() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, c := range w.changes {
		all = append(all, c.Action)
	}
	return strings.Join(all, " ")
}

// entry is one entry of an archive.
type entry struct {
	name, body, link string
	typ              byte
}

const goodMetadata = `architecture: x86_64
creation_date: 1700000000
expiry_date: 1900000000
properties:
  os: debian
  release: 12
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
`

// goodImage is a unified image.
func goodImage() []entry {
	return append(goodMeta(), entry{name: "rootfs/", typ: tar.TypeDir}, entry{name: "rootfs/etc/", typ: tar.TypeDir},
		entry{name: "rootfs/etc/hostname", body: "c1\n"}, entry{name: "rootfs/etc/alias", link: "hostname", typ: tar.TypeSymlink},
		entry{name: "rootfs/etc/hard", link: "rootfs/etc/hostname", typ: tar.TypeLink}, entry{name: "notes.txt", body: "not unpacked"})
}

func goodMeta() []entry {
	return []entry{{name: "metadata.yaml", body: goodMetadata}, {name: "templates/", typ: tar.TypeDir},
		{name: "templates/hostname.tpl", body: "{{ instance.name }}\n"}}
}

func goodRoot() []entry {
	return []entry{{name: "./", typ: tar.TypeDir}, {name: "./etc/", typ: tar.TypeDir}, {name: "./etc/hostname", body: "c1\n"}}
}

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.typ, Linkname: e.link, Mode: 0o755, Size: int64(len(e.body))}
		if h.Typeflag == 0 {
			h.Typeflag, h.Mode = tar.TypeReg, 0o644
		}
		if os.Geteuid() != 0 {
			h.Uid, h.Gid = os.Getuid(), os.Getgid()
		}
		must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, e.body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// unpack unpacks an image into a fresh folder.
func (w *world) unpack(t testing.TB, fingerprint string) (string, error) {
	t.Helper()
	root := t.TempDir()
	return root, w.Unpack(t.Context(), fingerprint, root, func(string) {})
}
