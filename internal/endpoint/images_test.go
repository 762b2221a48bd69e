package endpoint_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/endpoint"
	"lxd/internal/event"
	"lxd/internal/host/shelf"
	"lxd/internal/image"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/store"
)

// noVolumes stands in for storage without pools.
type noVolumes struct{}

func (noVolumes) DeleteImage(context.Context, string) error { return nil }

// newImageWorld is a server of images.
func newImageWorld(t *testing.T) *world {
	t.Helper()
	hub := event.NewHub("m1")
	st := store.NewMem(store.Options{OnAnnounce: hub.Announce})
	t.Cleanup(func() { _ = st.Close() })
	w := &world{ops: op.NewManager(t.Context(), op.Options{Store: st, Publish: hub, Location: "none"}), hub: hub,
		who: auth.Identity{Kind: auth.Unix, Name: "root", Address: "@", Admin: true}}
	svc := image.New(image.Deps{Store: st, Volumes: noVolumes{}, Files: shelf.New(t.TempDir()), Tmp: t.TempDir()})
	err := st.Update(t.Context(), func(tx store.Tx) error {
		p := project.Record{Name: "default", Config: map[string]string{"features.images": "true", "features.profiles": "true"}}
		if err := project.Collection.Insert(tx, p); err != nil {
			return err
		}
		return profile.Collection.Insert(tx, profile.Record{Project: "default", Name: "default", NetworkProject: "default"})
	})
	if err == nil {
		err = svc.Start(w.ops)
	}
	if err != nil {
		t.Fatal(err)
	}
	srv := &rest.Server{Self: "none", Ops: w.ops, Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil }}
	srv.SetPhase(rest.Serving)
	w.Server = httptest.NewServer(srv.Handler(endpoint.Images(svc, srv), endpoint.ImageAliases(svc), endpoint.Operations(w.ops)))
	t.Cleanup(w.Close)
	return w
}

func tarOf(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const imageMetadata = "architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: debian}\n"

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// settle waits for the operation of an answer and returns it.
func (w *world) settle(t *testing.T, a answer) (o api.Operation) {
	t.Helper()
	if a.HTTP != http.StatusAccepted {
		t.Fatalf("%d %s", a.HTTP, a.Error)
	}
	w.do(t, "GET", a.Get("Location")+"/wait", "")
	w.do(t, "GET", a.Get("Location"), "").into(t, &o)
	return o
}

// upload imports a unified image.
func (w *world) upload(t *testing.T, header ...string) (fingerprint, data string) {
	t.Helper()
	data = tarOf(t, "metadata.yaml", imageMetadata, "rootfs/etc/hostname", "c1")
	o := w.settle(t, w.do(t, "POST", "/1.0/images", data, append(header, "Content-Type", "application/octet-stream")...))
	if o.StatusCode != api.StatusSuccess || o.Metadata["fingerprint"] != hash(data) {
		t.Fatalf("%+v", o)
	}
	return hash(data), data
}

func TestImageUploadAndEdit(t *testing.T) {
	w := newImageWorld(t)
	fp, _ := w.upload(t, "X-LXD-properties", "release=bookworm")
	one := "/1.0/images/" + fp[:12]
	a := w.do(t, "GET", one, "")
	var img api.Image
	a.into(t, &img)
	if a.HTTP != 200 || img.Properties["release"] != "bookworm" || img.Properties["os"] != "debian" || a.Get("ETag") == "" {
		t.Fatalf("%d %+v", a.HTTP, img)
	}
	if b := w.do(t, "PATCH", one, `{"properties":{"x":"y"}}`, "If-Match", "wrong"); b.HTTP != http.StatusPreconditionFailed {
		t.Errorf("wrong If-Match: %d", b.HTTP)
	}
	if b := w.do(t, "PATCH", one, `{"properties":{"x":"y"}}`, "If-Match", a.Get("ETag")); b.HTTP != 200 {
		t.Errorf("PATCH: %d %s", b.HTTP, b.Error)
	}
	w.do(t, "GET", one, "").into(t, &img)
	if len(img.Properties) != 3 {
		t.Errorf("PATCH did not merge: %v", img.Properties)
	}
	for path, want := range map[string]int{"/1.0/images/abc": 400, "/1.0/images/" + strings.Repeat("f", 64): 404, "/1.0/images/ABCDEFABCDEF": 400} {
		if a := w.do(t, "GET", path, ""); a.HTTP != want {
			t.Errorf("%s: %d, want %d", path, a.HTTP, want)
		}
	}
	o := w.settle(t, w.do(t, "DELETE", one, ""))
	if o.StatusCode != api.StatusSuccess {
		t.Errorf("DELETE: %+v", o)
	}
	if a := w.do(t, "GET", one, ""); a.HTTP != 404 {
		t.Errorf("after DELETE: %d", a.HTTP)
	}
}

func TestImageList(t *testing.T) {
	w := newImageWorld(t)
	fp, _ := w.upload(t)
	for query, want := range map[string]string{
		"": `["/1.0/images/` + fp + `"]`, "?filter=public+eq+true": "[]", "?filter=properties.os+eq+debian": `["/1.0/images/` + fp + `"]`,
	} {
		if a := w.do(t, "GET", "/1.0/images"+query, ""); string(a.Metadata) != want {
			t.Errorf("%s: %s", query, a.Metadata)
		}
	}
	var all []api.Image
	w.do(t, "GET", "/1.0/images?recursion=1", "").into(t, &all)
	if len(all) != 1 || all[0].Fingerprint != fp || all[0].Project != "default" {
		t.Errorf("%+v", all)
	}
}

func TestImageCreateRefuses(t *testing.T) {
	w := newImageWorld(t)
	for name, c := range map[string]struct {
		body, kind string
		want       int
	}{
		"empty":        {"", "", 400},
		"broken":       {`{"source":`, "application/json", 400},
		"no source":    {`{}`, "application/json", 400},
		"remote":       {`{"source":{"type":"image","server":"https://x"}}`, "application/json", 400},
		"without type": {` {"source":{"type":"url"}}`, "", 400},
		"unknown":      {`{"source":{"type":"x"}}`, "application/json", 500},
	} {
		if a := w.do(t, "POST", "/1.0/images", c.body, "Content-Type", c.kind); a.HTTP != c.want {
			t.Errorf("%s: %d %s, want %d", name, a.HTTP, a.Error, c.want)
		}
	}
	o := w.settle(t, w.do(t, "POST", "/1.0/images", "no image at all", "Content-Type", "application/octet-stream"))
	if o.StatusCode != api.StatusFailure || !strings.Contains(o.Err, "no known format") {
		t.Errorf("%+v", o)
	}
}

func TestImageExport(t *testing.T) {
	w := newImageWorld(t)
	fp, data := w.upload(t)
	resp := w.fetch(t, "/1.0/images/"+fp+"/export", "")
	body, _ := io.ReadAll(resp.Body)
	if string(body) != data || resp.Header.Get("Content-Disposition") != "inline;filename="+fp+".tar" || resp.ContentLength != int64(len(data)) ||
		resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d bytes, %v", len(body), resp.Header)
	}
	resp = w.fetch(t, "/1.0/images/"+fp+"/export", "bytes=10-19")
	if body, _ = io.ReadAll(resp.Body); resp.StatusCode != http.StatusPartialContent || string(body) != data[10:20] {
		t.Errorf("range: %d %q", resp.StatusCode, body)
	}
}

func (w *world) fetch(t *testing.T, path, ranges string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestImageSplit(t *testing.T) {
	w := newImageWorld(t)
	parts := map[string]string{"metadata": tarOf(t, "metadata.yaml", imageMetadata), "rootfs": tarOf(t, "etc/hostname", "c1")}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, name := range []string{"metadata", "rootfs"} {
		out, err := form.CreateFormFile(name, name+".file")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(out, parts[name])
	}
	_ = form.Close()
	fp := hash(parts["metadata"] + parts["rootfs"])
	o := w.settle(t, w.do(t, "POST", "/1.0/images", b.String(), "Content-Type", form.FormDataContentType(), "X-LXD-fingerprint", fp))
	if o.StatusCode != api.StatusSuccess {
		t.Fatalf("%+v", o)
	}
	resp := w.fetch(t, "/1.0/images/"+fp[:16]+"/export", "")
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	in := multipart.NewReader(resp.Body, params["boundary"])
	for _, want := range []struct{ name, file string }{{"metadata", "meta-" + fp + ".tar"}, {"rootfs", fp + ".tar"}} {
		p, err := in.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(p)
		if p.FormName() != want.name || p.FileName() != want.file || string(body) != parts[want.name] {
			t.Errorf("part %s %s, %d bytes", p.FormName(), p.FileName(), len(body))
		}
	}
	if _, err := in.NextPart(); err != io.EOF {
		t.Error(err)
	}
}

// TestImageStrangers: who is not trusted sees public images only, or what a secret lets through once.
func TestImageStrangers(t *testing.T) {
	w := newImageWorld(t)
	fp, data := w.upload(t)
	admin, stranger := w.who, auth.Identity{Kind: auth.Untrusted, Address: "192.0.2.1"}
	token := w.do(t, "POST", "/1.0/images/"+fp+"/secret", "")
	var o api.Operation
	token.into(t, &o)
	secret, _ := o.Metadata["secret"].(string)
	w.who = stranger
	for path, want := range map[string]int{
		"/1.0/images/" + fp: 404, "/1.0/images/" + fp + "/export": 404, "/1.0/images/" + fp + "?secret=abc": 404,
		"/1.0/images/" + fp + "?secret=" + secret: 200, "/1.0/images/aliases": 403,
	} {
		if a := w.do(t, "GET", path, ""); a.HTTP != want {
			t.Errorf("%s: %d, want %d", path, a.HTTP, want)
		}
	}
	for _, path := range []string{"/1.0/images/" + fp[:12], "/1.0/images/" + fp[:12] + "/export"} {
		if a := w.do(t, "GET", path, ""); a.HTTP != 404 || strings.Contains(a.Error, fp) {
			t.Errorf("%s: %d %s, which tells of an image that is hidden", path, a.HTTP, a.Error)
		}
	}
	if a := w.do(t, "GET", "/1.0/images", ""); string(a.Metadata) != "[]" {
		t.Errorf("list: %s", a.Metadata)
	}
	resp := w.fetch(t, "/1.0/images/"+fp+"/export?secret="+secret, "")
	if body, _ := io.ReadAll(resp.Body); string(body) != data {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	if resp = w.fetch(t, "/1.0/images/"+fp+"/export?secret="+secret, ""); resp.StatusCode != 404 {
		t.Errorf("the secret worked twice: %d", resp.StatusCode)
	}
	if a := w.do(t, "POST", "/1.0/images", data); a.HTTP != 403 {
		t.Errorf("upload: %d", a.HTTP)
	}
	w.who = admin
	w.do(t, "PATCH", "/1.0/images/"+fp, `{"public":true}`)
	w.who = stranger
	if a := w.do(t, "GET", "/1.0/images", ""); string(a.Metadata) != `["/1.0/images/`+fp+`"]` {
		t.Errorf("public list: %s", a.Metadata)
	}
	if a := w.do(t, "GET", "/1.0/images/"+fp, ""); a.HTTP != 200 {
		t.Errorf("public image: %d", a.HTTP)
	}
}

func TestImageAliasRoutes(t *testing.T) {
	w := newImageWorld(t)
	fp, _ := w.upload(t)
	body := `{"name":"debian/12","target":"` + fp + `","description":"d"}`
	a := w.do(t, "POST", "/1.0/images/aliases", body)
	if a.HTTP != 201 || a.Get("Location") != "/1.0/images/aliases/debian%2F12" {
		t.Fatalf("%d %s %s", a.HTTP, a.Get("Location"), a.Error)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "", body, 409}, {"POST", "", `{"name":"x"}`, 400}, {"POST", "", `{"target":"` + fp + `"}`, 400},
		{"GET", "/debian%2F12", "", 200}, {"GET", "/debian/12", "", 200}, {"GET", "/debian", "", 404},
		{"PATCH", "/debian%2F12", `{"description":"new"}`, 200}, {"PUT", "/debian%2F12", `{"description":"x"}`, 400},
		{"POST", "/debian%2F12", `{"name":"d12"}`, 201}, {"GET", "/debian%2F12", "", 404}, {"GET", "/d12", "", 200},
		{"DELETE", "/d12", "", 200}, {"DELETE", "/d12", "", 404},
	} {
		if a := w.do(t, c.method, "/1.0/images/aliases"+c.path, c.body); a.HTTP != c.want {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, a.HTTP, a.Error, c.want)
		}
	}
}

func TestUploadsNameOnlyProfilesThatAreSeen(t *testing.T) {
	w := newImageWorld(t)
	w.who = auth.Identity{Kind: auth.TLS, Name: "joe", FineGrained: true, Rights: model.Compile([]model.Permission{
		{Entity: "project", URL: "/1.0/projects/default", Entitlement: "image_manager"}})}
	data := tarOf(t, "metadata.yaml", imageMetadata, "rootfs/etc/hostname", "c1")
	if a := w.do(t, "POST", "/1.0/images", data, "Content-Type", "application/octet-stream", "X-LXD-profiles", "profile=hidden"); a.HTTP != 404 {
		t.Error(a)
	}
	w.upload(t, "X-LXD-profiles", "profile=default")
}
