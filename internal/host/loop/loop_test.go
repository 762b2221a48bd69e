package loop_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lxd/internal/host/loop"
)

func TestAttach(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: loop devices")
	}
	top, err := os.MkdirTemp("/var/tmp", "loop test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	file := filepath.Join(top, "img")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if dev, err := loop.Find(file); dev != nil || err != nil {
		t.Fatal(dev, err)
	}
	dev, err := loop.Attach(file, true)
	if err != nil {
		t.Skip("needs loop devices: ", err)
	}
	again, err := loop.Attach(file, true)
	if err != nil || again.Name() != dev.Name() {
		t.Errorf("%v, %v", again, err)
	}
	again.Close()
	size := func() int64 {
		n, err := dev.Seek(0, io.SeekEnd)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := size(); n != 1<<20 {
		t.Error(n)
	}
	if err := os.Truncate(file, 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := loop.Grown(dev); err != nil || size() != 2<<20 {
		t.Error(size(), err)
	}
	dev.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		dev, err := loop.Find(file)
		if dev == nil && err == nil {
			break
		}
		if dev != nil {
			dev.Close()
		}
		if time.Now().After(end) {
			t.Fatal("the device is still there: ", err)
		}
	}
	for _, path := range []string{filepath.Join(top, "missing"), top} {
		if dev, err := loop.Attach(path, false); err == nil {
			t.Errorf("%s became %s", path, dev.Name())
		}
	}
}
