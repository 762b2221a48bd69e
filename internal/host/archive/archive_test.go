package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"lxd/internal/errs"
	"lxd/internal/host/archive"
)

// body is what the archives of these tests hold: some of it packs well, some does not.
var body = strings.Repeat("the same again, ", 40_000) + string(bytes.Map(func(r rune) rune { return r*7919%127 + 1 }, bytes.Repeat([]byte("abcdefgh"), 1000)))

func packed(t testing.TB, text string) []byte {
	t.Helper()
	c, err := archive.ParseCompression(text)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := c.Writer(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(w)
	for _, err := range []error{
		tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o600}),
		second(io.WriteString(tw, body)), tw.Close(), w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := archive.Detect(b.Bytes()); got != c.Format() {
		t.Errorf("%s makes a %s file, not %s", text, got, c.Format())
	}
	return b.Bytes()
}

func second[T any](_ T, err error) error { return err }

func unpacked(t testing.TB, r io.Reader) (string, error) {
	t.Helper()
	a, err := archive.Open(t.Context(), r)
	if err != nil {
		return "", err
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := a.Next(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(a)
	if err != nil {
		return "", err
	}
	if _, err := a.Next(); !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(b), a.Rest()
}

var usable = []string{"none", "gzip", "gzip -9", "pigz -1", "zstd", "zstd -19", "pzstd -T0 -3", "xz -1", "lzma -1", "bzip2", "bzip2 --best"}

func missing(t *testing.T, text string) bool {
	program := map[string]string{"xz": "/usr/bin/xz", "lzma": "/usr/bin/xz", "bzip2": "/usr/bin/bzip2"}[strings.Fields(text)[0]]
	if program == "" {
		return false
	}
	_, err := exec.LookPath(program)
	if err != nil {
		t.Logf("%s is not installed", program)
	}
	return err != nil
}

func TestEveryCompressionThereAndBack(t *testing.T) {
	for _, text := range usable {
		t.Run(text, func(t *testing.T) {
			if missing(t, text) {
				t.Skip("its program is not installed")
			}
			b := packed(t, text)
			if text != "none" && len(b) > len(body)/4 {
				t.Errorf("%d bytes became %d", len(body), len(b))
			}
			if got, err := unpacked(t, iotest.HalfReader(bytes.NewReader(b))); err != nil || got != body {
				t.Errorf("as a stream: %d bytes, %v", len(got), err)
			}
			path := filepath.Join(t.TempDir(), "a")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := archive.OpenFile(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, a)
			if err := errors.Join(err, a.Rest()); err != nil {
				t.Error(err)
			}
			if a.At() == 0 {
				t.Error("nothing counts as read")
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatIsCutShortIsNoticed(t *testing.T) {
	for _, text := range usable {
		t.Run(text, func(t *testing.T) {
			if missing(t, text) {
				t.Skip("its program is not installed")
			}
			b := packed(t, text)
			for _, n := range []int{len(b) / 2, len(b) / 100, 600} {
				if n >= len(b) {
					continue
				}
				if _, err := unpacked(t, bytes.NewReader(b[:n])); err == nil {
					t.Errorf("%d of %d bytes are taken for the whole", n, len(b))
				}
			}
		})
	}
}

func TestAFailingSourceIsNoticed(t *testing.T) {
	broken := errors.New("the line is dead")
	for _, text := range usable {
		t.Run(text, func(t *testing.T) {
			if missing(t, text) {
				t.Skip("its program is not installed")
			}
			b := packed(t, text)
			_, err := unpacked(t, io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(broken)))
			if !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestParseCompressionRefuses(t *testing.T) {
	for _, text := range []string{"", "  ", "rar", "gzip -0", "gzip -10", "gzip --suffix=x", "gzip; rm -rf /", "zstd -o /etc/passwd", "zstd --output-dir-flat=/",
		"xz --files=/etc/passwd", "bzip2 /etc/passwd", "/bin/sh", "none -1", "gzip\n-1 -f", "gzip -T", "zstd -20", "xz -T0x1", "../gzip", "gzip -9 /x"} {
		if c, err := archive.ParseCompression(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	if _, err := archive.ParseCompression("squashfs"); !errs.Is(err, errs.Unsupported) {
		t.Errorf("squashfs: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, b := range map[string]string{"empty": "", "text": strings.Repeat("hello", 200), "squashfs": "hsqs" + strings.Repeat("x", 600),
		"a window of gigabytes": "\x28\xb5\x2f\xfd\x00\xc0" + strings.Repeat("x", 600), "a huge lzma dictionary": "\x5d\x00\x00\x00\xff" + strings.Repeat("\xff", 600)} {
		if _, err := unpacked(t, strings.NewReader(b)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, text := range []string{"none", "gzip", "zstd", "bzip2"} {
		b := packed(f, text)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte("\x5d\x00\x00\x00\x01" + strings.Repeat("\xff", 600)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if f := archive.Detect(b); f == archive.XZ {
			t.Skip("a child for each input would be slow")
		}
		a, err := archive.Open(t.Context(), bytes.NewReader(b))
		if err != nil {
			return
		}
		defer a.Close()
		for range 1000 {
			if _, err := a.Next(); err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(a, 1<<20))
		}
	})
}
