package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/op"
	"lxd/internal/store"
)

// imported is a world with one image, and its fingerprint.
func imported(t *testing.T) (*world, string) {
	t.Helper()
	w := newWorld(t)
	data := pack(t, goodImage())
	_, err := w.send(t, bytes.NewReader(data))
	must(t, err)
	return w, fingerprintOf(data)
}

func alias(name, target string) api.ImageAliasesPost {
	return api.ImageAliasesPost{ImageAliasesEntry: api.ImageAliasesEntry{Name: name, Target: target, Description: "d"}}
}

func TestFind(t *testing.T) {
	w, fp := imported(t)
	for ref, want := range map[string]errs.Kind{
		fp[:11]: errs.Invalid, strings.ToUpper(fp): errs.Invalid, fp + "0": errs.Invalid, "": errs.Invalid, "../../etc/passwd": errs.Invalid,
		strings.Repeat("0", 12): errs.NotFound,
	} {
		if _, _, err := w.Get(t.Context(), "default", ref); !errs.Is(err, want) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	for _, ref := range []string{fp, fp[:12]} {
		if _, err := w.Resolve(t.Context(), "default", ref); err != nil {
			t.Error(err)
		}
	}
	must(t, w.AliasCreate(t.Context(), "default", alias("debian/12", fp[:12])))
	img, err := w.Resolve(t.Context(), "default", "debian/12")
	if err != nil || img.Fingerprint != fp || len(img.Aliases) != 1 || img.Aliases[0].Name != "debian/12" {
		t.Errorf("%+v, %v", img, err)
	}
	if _, err := w.Resolve(t.Context(), "default", "debian"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	// guest has no images of its own, and sees those of the default project; other has its own
	if _, err := w.Resolve(t.Context(), "guest", "debian/12"); err != nil {
		t.Error(err)
	}
	if _, err := w.Resolve(t.Context(), "other", fp); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestNamed(t *testing.T) {
	w, fp := imported(t)
	for o, want := range map[auth.Object]string{
		{Entity: "image", Project: "default", URL: "/1.0/images/" + fp[:12]}: "/1.0/images/" + fp,
		{Entity: "image", Project: "guest", URL: "/1.0/images/" + fp[:20]}:   "/1.0/images/" + fp,
		{Entity: "image", Project: "other", URL: "/1.0/images/" + fp[:12]}:   "/1.0/images/" + fp[:12],
		{Entity: "image", Project: "default", URL: "/1.0/images/x"}:          "/1.0/images/x",
		{Entity: "instance", Project: "default", URL: "/1.0/instances/x"}:    "/1.0/instances/x",
	} {
		if got := w.Named(t.Context(), o); got != want {
			t.Errorf("%+v: %s, want %s", o, got, want)
		}
	}
}

func TestUpdate(t *testing.T) {
	w, fp := imported(t)
	_, before, err := w.Get(t.Context(), "default", fp)
	must(t, err)
	put := api.ImagePut{Public: true, Properties: map[string]string{"a": "b"}, ExpiresAt: time.Unix(5, 0).UTC(), Profiles: []string{}}
	must(t, w.Update(t.Context(), "default", fp[:20], put))
	img, after, err := w.Get(t.Context(), "default", fp)
	must(t, err)
	if !img.Public || len(img.Properties) != 1 || img.ExpiresAt.Unix() != 5 || len(img.Profiles) != 0 {
		t.Errorf("%+v", img)
	}
	b, _ := json.Marshal(before)
	a, _ := json.Marshal(after)
	if string(a) == string(b) || string(a) != `[true,false,{"a":"b"}]` {
		t.Errorf("what If-Match guards went from %s to %s", b, a)
	}
	put.Profiles = []string{"default", "gone"}
	if err := w.Update(t.Context(), "default", fp, put); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), `"gone"`) {
		t.Error(err)
	}
	if got, want := w.actions(), "image-created image-updated"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestAliases(t *testing.T) {
	w, fp := imported(t)
	ctx := t.Context()
	for name, c := range map[string]struct {
		post api.ImageAliasesPost
		want errs.Kind
	}{
		"no name": {alias("", fp), errs.Invalid}, "no target": {alias("a", ""), errs.Invalid}, "control": {alias("a\nb", fp), errs.Invalid},
		"slash at the end": {alias("a/", fp), errs.Invalid}, "no image": {alias("a", strings.Repeat("0", 64)), errs.NotFound},
	} {
		if err := w.AliasCreate(ctx, "default", c.post); !errs.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, w.AliasCreate(ctx, "default", alias("a/b", fp)))
	if err := w.AliasCreate(ctx, "default", alias("a/b", fp)); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	must(t, w.AliasUpdate(ctx, "default", "a/b", api.ImageAliasesEntryPut{Description: "new", Target: fp}))
	must(t, w.AliasRename(ctx, "default", "a/b", "c"))
	e, err := w.AliasGet(ctx, "default", "c", false)
	if err != nil || e.Description != "new" || e.Type != "container" || e.Target != fp {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := w.AliasGet(ctx, "default", "c", true); !errs.Is(err, errs.NotFound) {
		t.Errorf("the alias of an image that is not public: %v", err)
	}
	list, err := w.AliasList(ctx, "default")
	if err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	must(t, w.AliasDelete(ctx, "default", "c"))
	if err := w.AliasDelete(ctx, "default", "c"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if got, want := w.actions(), "image-created image-alias-created image-alias-updated image-alias-renamed image-alias-deleted"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestDelete(t *testing.T) {
	w, fp := imported(t)
	must(t, w.AliasCreate(t.Context(), "default", alias("a", fp)))
	spec, err := w.Delete(t.Context(), "default", fp[:12])
	_, err = w.run(t, spec, err)
	must(t, err)
	w.clean(t)
	if len(w.dropped) != 1 || w.dropped[0] != fp {
		t.Errorf("volumes dropped: %v", w.dropped)
	}
	if _, err := w.Delete(t.Context(), "default", fp); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if got, want := w.actions(), "image-created image-alias-created image-alias-deleted image-deleted"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestSharedFiles: the files go with the last project that has the image.
func TestSharedFiles(t *testing.T) {
	w, fp := imported(t)
	_, err := w.send(t, bytes.NewReader(pack(t, goodImage())), "project", "other")
	must(t, err)
	spec, err := w.Delete(t.Context(), "default", fp)
	_, err = w.run(t, spec, err)
	must(t, err)
	if _, err := w.unpack(t, fp); err != nil || len(w.dropped) > 0 {
		t.Fatalf("the other project's image is harmed: %v, volumes dropped: %v", err, w.dropped)
	}
	all, err := w.List(t.Context(), "default", true)
	if err != nil || len(all) != 1 || all[0].Project != "other" {
		t.Fatalf("%v, %v", all, err)
	}
	spec, err = w.Delete(t.Context(), "other", fp)
	_, err = w.run(t, spec, err)
	must(t, err)
	w.clean(t)
}

// TestFilesOfOthersStay: a project that sends the bytes of another one's image, cut in two where that is not, does not change that image.
func TestFilesOfOthersStay(t *testing.T) {
	w := newWorld(t)
	data := pack(t, []entry{{name: "metadata.yaml", body: goodMetadata}, {name: "rootfs/etc/hostname", body: "c1\n"}})
	cut := 2 * 512 // after the first entry
	_, err := w.send(t, bytes.NewReader(data))
	must(t, err)
	fp := fingerprintOf(data)
	if _, err := w.sendSplit(t, data[:cut], data[cut:], "rootfs", "project", "other"); err != nil {
		t.Fatalf("the halves are no image, so that this test proves nothing: %v", err)
	}
	checkExport(t, w, fp, map[string][]byte{fp + ".tar": data})
	for _, proj := range []string{"default", "other"} {
		spec, err := w.Delete(t.Context(), proj, fp)
		_, err = w.run(t, spec, err)
		must(t, err)
	}
	w.clean(t)
}

// TestCopyOfHidden: who may not view an image cannot tell whether it is there.
func TestCopyOfHidden(t *testing.T) {
	w, fp := imported(t)
	must(t, w.AliasCreate(t.Context(), "default", alias("secret", fp)))
	try := func(name string, may bool) error {
		post := api.ImagesPost{Source: &api.ImagesPostSource{Type: "image", Fingerprint: name, Project: "default"}}
		_, err := w.Create(t.Context(), image.Order{Project: "other", Post: post, May: func(entity, proj, url string) error {
			if may {
				return nil
			}
			return errs.Newf(errs.Forbidden, "not authorized: %s %s", proj, url)
		}})
		return err
	}
	for _, name := range []string{fp, fp[:12], "secret", "nothing", strings.Repeat("a", 64)} {
		want := "not authorized: default /1.0/images/" + name
		if err := try(name, false); !errs.Is(err, errs.Forbidden) || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if err := errors.Join(try(fp, true), try("secret", true)); err != nil {
		t.Error(err)
	}
	if err := try("nothing", true); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	must(t, w.Update(t.Context(), "default", fp, api.ImagePut{Public: true}))
	if err := try(fp, false); err != nil {
		t.Errorf("a public image: %v", err)
	}
}

// TestDeleteWaitsForReaders: the volumes are not dropped while one is being made.
func TestDeleteWaitsForReaders(t *testing.T) {
	w := newWorld(t)
	big := pack(t, append(goodImage(), entry{name: "rootfs/big", body: strings.Repeat("x", 9<<20)}))
	_, err := w.send(t, bytes.NewReader(big))
	must(t, err)
	fp := fingerprintOf(big)
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		done <- w.Unpack(t.Context(), fp, t.TempDir(), func(string) { once.Do(func() { close(inside); <-goOn }) })
	}()
	<-inside
	deleted := make(chan error, 1)
	spec, err := w.Delete(t.Context(), "default", fp)
	must(t, err)
	o, err := w.ops.Start(t.Context(), spec)
	must(t, err)
	go func() { deleted <- o.Wait(t.Context()) }()
	select {
	case <-deleted:
		t.Error("deleted while it was being read")
	case <-time.After(30 * time.Millisecond):
	}
	close(goOn)
	must(t, <-done)
	must(t, <-deleted)
}

// TestSettleLeavesReadersAlone: files that lie where they belong need not be waited for.
func TestSettleLeavesReadersAlone(t *testing.T) {
	w := newWorld(t)
	big := pack(t, append(goodImage(), entry{name: "rootfs/big", body: strings.Repeat("x", 9<<20)}))
	_, err := w.send(t, bytes.NewReader(big))
	must(t, err)
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		done <- w.Unpack(t.Context(), fingerprintOf(big), t.TempDir(), func(string) { once.Do(func() { close(inside); <-goOn }) })
	}()
	<-inside
	settled := make(chan error, 1)
	go func() { settled <- w.Settle(t.Context()) }()
	select {
	case err := <-settled:
		must(t, err)
	case <-time.After(5 * time.Second):
		t.Error("it waits for somebody who reads what stays where it is")
	}
	close(goOn)
	must(t, <-done)
}

// TestRecover: what a crash leaves at each point of an import and of a deletion.
func TestRecover(t *testing.T) {
	crash := errors.New("crash")
	for _, c := range []struct{ kind, step, moment string }{
		{"image-import", "files", "before"}, {"image-import", "files", "after"}, {"image-import", "record", "after"},
		{"image-delete", "record", "before"}, {"image-delete", "record", "after"}, {"image-delete", "volumes", "after"}, {"image-delete", "files", "after"},
	} {
		t.Run(c.kind+" "+c.step+" "+c.moment, func(t *testing.T) {
			w := newWorld(t)
			data := pack(t, goodImage())
			left := func() { stop(t, w, c.kind, c.step, c.moment, crash) }
			if c.kind == "image-import" {
				left()
			}
			_, err := w.send(t, bytes.NewReader(data))
			if c.kind == "image-delete" {
				must(t, err)
				must(t, w.AliasCreate(t.Context(), "default", alias("a", fingerprintOf(data))))
				left()
				spec, err := w.Delete(t.Context(), "default", fingerprintOf(data))
				_, _ = w.run(t, spec, err)
			}
			restart(t, w)
			if c.kind == "image-import" && c.step == "record" {
				if _, err := w.unpack(t, fingerprintOf(data)); err != nil {
					t.Fatalf("a finished import was undone: %v", err)
				}
				return
			}
			w.clean(t)
		})
	}
}

// saved is a state of the store and the folders.
type saved struct {
	entries map[string]map[string][]byte
	files   map[string][]byte
}

// stop takes a picture of everything when a step is reached, which is what a crash there would leave, and fails the step.
func stop(t *testing.T, w *world, kind, step, moment string, err error) {
	w.hook = func(k, s, m string) error {
		if k != kind || s != step || m != moment {
			return nil
		}
		w.hook = nil
		w.crashed = picture(t, w)
		return err
	}
}

func picture(t *testing.T, w *world) *saved {
	p := &saved{map[string]map[string][]byte{}, map[string][]byte{}}
	_ = w.store.View(context.Background(), func(tx store.Tx) error {
		for _, c := range []string{"project", "profile", "image", "image_alias", "operation", "ref"} {
			p.entries[c] = map[string][]byte{}
			for e := range tx.Scan(c, "") {
				p.entries[c][e.Key] = e.Value
			}
		}
		return nil
	})
	names, _ := filepath.Glob(w.dir + "/*")
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Error(err)
		}
		p.files[filepath.Base(n)] = b
	}
	return p
}

// restart starts again from the picture, with the folder of uploads emptied as at every start.
func restart(t *testing.T, w *world) {
	t.Helper()
	p := w.crashed
	if p == nil {
		t.Fatal("the step was not reached")
	}
	w.store = store.NewMem(store.Options{})
	t.Cleanup(func() { _ = w.store.Close() })
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error {
		for c, entries := range p.entries {
			for k, v := range entries {
				tx.Write(c, k, v)
			}
		}
		return nil
	}))
	w.dir, w.tmp = t.TempDir(), t.TempDir()
	for name, b := range p.files {
		must(t, os.WriteFile(filepath.Join(w.dir, name), b, 0o600))
	}
	w.boot(t)
}

func TestSecret(t *testing.T) {
	w, fp := imported(t)
	ctx := t.Context()
	if err := w.Admit(ctx, "default", fp, "", false); !errs.Is(err, errs.NotFound) {
		t.Fatal(err)
	}
	spec, err := w.Secret(ctx, "default", fp)
	must(t, err)
	o, err := w.ops.Start(ctx, spec)
	must(t, err)
	word := o.API().Metadata["secret"].(string)
	admitted := func() error { return w.Admit(ctx, "default", fp, word, false) }
	for i := 0; admitted() != nil; i++ {
		if i > 1000 {
			t.Fatal(admitted())
		}
		time.Sleep(time.Millisecond)
	}
	if err := w.Admit(ctx, "default", fp, word+"0", true); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	must(t, w.Admit(ctx, "default", fp, word, true))
	if err := w.Admit(ctx, "default", fp, word, true); !errs.Is(err, errs.NotFound) {
		t.Errorf("the secret worked twice: %v", err)
	}
	must(t, o.Wait(ctx))
}

func TestCreateRefuses(t *testing.T) {
	w, fp := imported(t)
	allow := func(string, string, string) error { return nil }
	for name, c := range map[string]struct {
		src  *api.ImagesPostSource
		want errs.Kind
	}{
		"nothing":      {nil, errs.Invalid},
		"unknown type": {&api.ImagesPostSource{Type: "magic"}, errs.Internal},
		"no address":   {&api.ImagesPostSource{Type: "url"}, errs.Invalid},
		"plain http":   {&api.ImagesPostSource{Type: "url", URL: "http://images.example.org/x"}, errs.Invalid},
		"a file":       {&api.ImagesPostSource{Type: "url", URL: "file:///etc/passwd"}, errs.Invalid},
		"a password":   {&api.ImagesPostSource{Type: "url", URL: "https://a:b@images.example.org"}, errs.Invalid},
		"no image":     {&api.ImagesPostSource{Type: "image"}, errs.NotFound},
		"no name":      {&api.ImagesPostSource{Type: "instance"}, errs.Invalid},
		"a snapshot":   {&api.ImagesPostSource{Type: "instance", Name: "c1/s0"}, errs.Invalid},
		"no snapshot":  {&api.ImagesPostSource{Type: "snapshot", Name: "c1"}, errs.Invalid},
		"a protocol":   {&api.ImagesPostSource{Type: "image", ImageSource: api.ImageSource{Server: "https://h", Protocol: "ftp", Alias: "x"}}, errs.Invalid},
		"no alias":     {&api.ImagesPostSource{Type: "image", ImageSource: api.ImageSource{Server: "https://h"}}, errs.Invalid},
		"certificate":  {&api.ImagesPostSource{Type: "image", ImageSource: api.ImageSource{Server: "https://h", Alias: "x", Certificate: "junk"}}, errs.Invalid},
	} {
		_, err := w.Create(t.Context(), image.Order{Project: "default", Post: api.ImagesPost{Source: c.src}, Open: true, May: allow})
		if !errs.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	spec, err := w.Refresh(t.Context(), "default", fp)
	o, err := w.run(t, spec, err)
	if !errs.Is(err, errs.Unsupported) || o.Metadata["refreshed"] != false {
		t.Errorf("%v, %v", err, o.Metadata)
	}
}

func TestUsed(t *testing.T) {
	w, fp := imported(t)
	begun := time.Now().UTC()
	used := func(fp string, at time.Time) {
		t.Helper()
		must(t, w.store.Update(t.Context(), func(tx store.Tx) error { return w.Used(tx, "default", fp, at) }))
	}
	used(fp, begun)
	used(fp, begun.Add(time.Second)) // too soon to be worth a write
	used(strings.Repeat("0", 64), begun)
	img, _, err := w.Get(t.Context(), "default", fp)
	if err != nil || !img.LastUsedAt.Equal(begun) {
		t.Errorf("%v, %v", img.LastUsedAt, err)
	}
}

var _ image.Volumes = (*world)(nil)
var _ op.Hook = failAt("", "", nil)
