package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/store"
)

// furnish makes a volume that can be published; closed counts how often it was given back.
func furnish(t *testing.T, w *world) (closed *int) {
	t.Helper()
	dir := t.TempDir()
	closed = new(int)
	for name, text := range map[string]string{
		"metadata.yaml": goodMetadata, "templates/hostname.tpl": "{{ instance.name }}\n", "rootfs/etc/hostname": "c1\n", "backup.yaml": "secret"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	w.content = image.Content{Type: "container", Architecture: "x86_64", Properties: map[string]string{"os": "debian"}, Lock: "instance default/c1",
		Open: func(context.Context) (image.Tree, error) {
			plus := func(id uint32) (uint32, error) { return id + 7, nil }
			return image.Tree{Path: dir, Root: filepath.Join(dir, "rootfs"), Owner: plus, Close: func() error { *closed++; return nil }}, nil
		}}
	return closed
}

func instanceSource(name string) *api.ImagesPostSource {
	return &api.ImagesPostSource{Type: "instance", Name: name}
}

func TestPublish(t *testing.T) {
	w := newWorld(t)
	closed := furnish(t, w)
	post := api.ImagesPost{Source: instanceSource("c1"), Aliases: []api.ImageAlias{{Name: "mine", Description: "d"}}}
	post.Public, post.Properties, post.ExpiresAt = true, map[string]string{"release": "13"}, time.Unix(2e9, 0)
	o, err := w.order(t, post)
	if err != nil || *closed != 1 {
		t.Fatalf("%v, given back %d times", err, *closed)
	}
	img, err := w.Resolve(t.Context(), "default", "mine")
	if err != nil || !img.Public || img.Properties["release"] != "13" || len(img.Properties) != 1 || img.ExpiresAt.Unix() != 2e9 ||
		o.Metadata["fingerprint"] != img.Fingerprint || img.Type != "container" || img.Filename != img.Fingerprint+".tar.gz" || img.UpdateSource != nil {
		t.Fatalf("%+v %v", img, err)
	}
	parts, err := w.Export(t.Context(), "default", img.Fingerprint)
	must(t, err)
	defer parts[0].Close()
	z, err := gzip.NewReader(parts[0])
	must(t, err)
	var names []string
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, h.Name)
		if h.Name == "rootfs/etc/hostname" && h.Uid != os.Getuid()+7 {
			t.Errorf("owner %d", h.Uid)
		}
	}
	if got := strings.Join(names, " "); got != "metadata.yaml templates/ templates/hostname.tpl rootfs/ rootfs/etc/ rootfs/etc/hostname" {
		t.Errorf("entries: %s", got)
	}
	root, err := w.unpack(t, img.Fingerprint)
	must(t, err)
	b, err := os.ReadFile(root + "/metadata.yaml")
	must(t, err)
	m, err := image.ParseMetadata(bytes.NewReader(b))
	if err != nil || m.Properties["release"] != "13" || len(m.Templates) != 1 || m.ExpiryDate != 2e9 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestPublishSettings(t *testing.T) {
	w := newWorld(t)
	furnish(t, w)
	for setting, ext := range map[string]string{"": ".tar.gz", "none": ".tar", "zstd -1": ".tar.zst", "xz -0": "!", "gzip; id": "!", "sh": "!"} {
		post := api.ImagesPost{Source: instanceSource("c1"), CompressionAlgorithm: setting}
		post.Properties = map[string]string{"n": setting}
		o, err := w.order(t, post)
		if ext == "!" {
			if !errs.Is(err, errs.Invalid) {
				t.Errorf("%q: %v", setting, err)
			}
			continue
		}
		must(t, err)
		img, _, err := w.Get(t.Context(), "default", o.Metadata["fingerprint"].(string))
		if err != nil || img.Filename != img.Fingerprint+ext {
			t.Errorf("%q: %s %v", setting, img.Filename, err)
		}
	}
	w.settings[image.Compression] = "zstd"
	o, err := w.order(t, api.ImagesPost{Source: &api.ImagesPostSource{Type: "snapshot", Name: "c1/s0"}})
	must(t, err)
	img, _, err := w.Get(t.Context(), "default", o.Metadata["fingerprint"].(string))
	if err != nil || !strings.HasSuffix(img.Filename, ".tar.zst") || img.Properties["os"] != "debian" {
		t.Errorf("%+v %v", img, err)
	}
}

func TestPublishRefuses(t *testing.T) {
	w := newWorld(t)
	furnish(t, w)
	w.content.Running = true
	if _, err := w.order(t, api.ImagesPost{Source: instanceSource("c1")}); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "running") {
		t.Errorf("%v", err)
	}
	w.content.Running = false
	if _, err := w.order(t, api.ImagesPost{Source: instanceSource("other")}); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
	hidden := errs.Newf(errs.NotFound, "no such instance")
	_, err := w.Create(t.Context(), image.Order{Project: "default", Post: api.ImagesPost{Source: instanceSource("c1")},
		May: func(entity, proj, url string) error {
			if entity != "instance" || proj != "default" || url != "/1.0/instances/c1" {
				t.Errorf("%s %s %s is asked", entity, proj, url)
			}
			return hidden
		}})
	if !errors.Is(err, hidden) {
		t.Errorf("an instance that the caller may not see: %v", err)
	}
	open := w.content.Open
	w.content.Open = func(ctx context.Context) (image.Tree, error) {
		tree, err := open(ctx)
		tree.Owner = func(uint32) (uint32, error) { return 0, errors.New("not one of the map") }
		w.content.Lock = ""
		tree.Root = filepath.Join(tree.Path, "gone")
		return tree, err
	}
	if _, err := w.order(t, api.ImagesPost{Source: instanceSource("c1")}); err == nil {
		t.Error("a root that is gone was packed")
	}
	w.clean(t)
}

// TestPublishCrash ends the daemon at each step.
func TestPublishCrash(t *testing.T) {
	for _, c := range []struct{ step, moment string }{{"pack", "before"}, {"pack", "after"}, {"files", "after"}, {"record", "before"}, {"record", "after"}} {
		w := newWorld(t)
		furnish(t, w)
		stop(t, w, "image-publish", c.step, c.moment, errors.New("crash"))
		_, err := w.order(t, api.ImagesPost{Source: instanceSource("c1")})
		if err == nil {
			t.Errorf("%+v: it went on", c)
		}
		w.clean(t) // what is undone at once
		restart(t, w)
		if c.step == "record" && c.moment == "after" {
			must(t, w.store.View(t.Context(), func(tx store.Tx) error {
				for r, err := range image.Collection.All(tx, "") {
					must(t, err)
					_, err := w.unpack(t, r.Fingerprint)
					must(t, err)
				}
				return nil
			}))
			continue
		}
		w.clean(t)
	}
}

// TestPush sends an image from one server to another, over the network, by a secret that is good for once.
func TestPush(t *testing.T) {
	from, to := newWorld(t), newWorld(t)
	data := pack(t, goodImage())
	fp := fingerprintOf(data)
	_, err := from.send(t, bytes.NewReader(data), "X-LXD-properties", "a=b")
	must(t, err)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		inv, err := to.Invited("default", r.Header.Get("X-LXD-secret"))
		if err != nil {
			_, _ = out.Write([]byte(`{"type":"error","error":"` + strings.ReplaceAll(err.Error(), `"`, "") + `"}`))
			return
		}
		up, err := to.Receive(r)
		must(t, err)
		inv.Accept(up)
		spec, err := to.Import(context.Background(), "default", up)
		must(t, err)
		_, err = to.ops.Start(context.Background(), spec)
		must(t, err)
		_, _ = out.Write([]byte(`{"type":"async"}`))
	}))
	t.Cleanup(srv.Close)
	post := api.ImagesPost{Source: &api.ImagesPostSource{Type: "image", Mode: "push", Fingerprint: fp}, Aliases: []api.ImageAlias{{Name: "sent"}}}
	spec, err := to.Create(t.Context(), image.Order{Project: "default", Post: post})
	must(t, err)
	token, err := to.ops.Start(t.Context(), spec)
	must(t, err)
	secret, _ := token.API().Metadata["secret"].(string)
	push := func(word string) error {
		cert := (&shop{Server: srv}).certificate()
		spec, err := from.Push(t.Context(), "default", fp, api.ImageExportPost{Target: srv.URL, Secret: word, Certificate: cert})
		_, err = from.run(t, spec, err)
		return err
	}
	if err := push(secret + "0"); err == nil || !strings.Contains(err.Error(), "not authorized") {
		t.Errorf("a wrong secret: %v", err)
	}
	must(t, push(secret))
	must(t, token.Wait(t.Context()))
	img, err := to.Resolve(t.Context(), "default", "sent")
	if err != nil || img.Fingerprint != fp || img.Properties["a"] != "b" {
		t.Errorf("%+v %v", img, err)
	}
	if err := push(secret); err == nil {
		t.Error("the secret worked twice")
	}
	for name, post := range map[string]api.ImageExportPost{"http": {Target: "http://h", Secret: "s"}, "no secret": {Target: "https://h"},
		"junk": {Target: "https://h", Secret: "s", Certificate: "junk"}, "path": {Target: "https://h/x", Secret: "s"}} {
		if _, err := from.Push(t.Context(), "default", fp, post); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
