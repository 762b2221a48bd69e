package image_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSettle: the files of images follow their project to a folder of its own and back; they can be read all the while. Those that
// projects with different folders share stay in the server's.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	meta, root := pack(t, goodMeta()), pack(t, goodRoot())
	own := fingerprintOf(meta, root)
	_, err := w.sendSplit(t, meta, root, "rootfs", "project", "other")
	must(t, err)
	data := pack(t, goodImage())
	shared := fingerprintOf(data)
	for _, proj := range []string{"default", "other"} {
		_, err = w.send(t, strings.NewReader(string(data)), "project", proj)
		must(t, err)
	}
	away := filepath.Join(t.TempDir(), "images")
	for range 2 {
		w.Files().Set(map[string]string{"other": away})
		must(t, w.Settle(t.Context()))
		for name, dir := range map[string]string{own: away, own + ".rootfs": away, shared: w.dir} {
			if got := w.Files().Path("", name); got != filepath.Join(dir, name) {
				t.Errorf("%s is at %s", name, got)
			}
		}
		checkExport(t, w, shared, map[string][]byte{shared + ".tar": data})
		if _, err := w.unpack(t, own); err != nil {
			t.Error(err)
		}
		w.Files().Set(nil, away)
		must(t, w.Settle(t.Context()))
		for _, name := range []string{own, own + ".rootfs", shared} {
			if got := w.Files().Path("", name); got != filepath.Join(w.dir, name) {
				t.Errorf("%s is at %s", name, got)
			}
		}
	}
	w.Files().Set(map[string]string{"": away})
	must(t, w.Settle(t.Context()))
	spec, err := w.Delete(t.Context(), "other", own)
	_, err = w.run(t, spec, err)
	must(t, err)
	if names, err := w.Files().Names(); err != nil || len(names) != 1 || names[0] != shared {
		t.Error("left:", names, err)
	}
	w.boot(t) // without the folder: what it holds is missing, and is not forgotten
	if _, _, err := w.Get(t.Context(), "default", shared); err != nil {
		t.Error(err)
	}
}

// TestSettleWaits for who reads an image, and lets nobody begin while its files are moved.
func TestSettleWaits(t *testing.T) {
	w := newWorld(t)
	data := pack(t, goodImage())
	_, err := w.send(t, strings.NewReader(string(data)))
	must(t, err)
	away := filepath.Join(t.TempDir(), "images")
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 20 {
			w.Files().Set([]map[string]string{{"": away}, nil}[i%2], away)
			if err = w.Settle(t.Context()); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		done <- err
	}()
	for {
		if _, err := w.unpack(t, fingerprintOf(data)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			must(t, err)
			return
		default:
		}
	}
}
