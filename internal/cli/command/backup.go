package command

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
)

// SaveBackup writes a backup of what has that name to target, - for the standard output, or "" for a file called like it; what is not complete does not stay.
func SaveBackup(a *App, r io.Reader, target, name string) error {
	if target == "-" {
		_, err := io.Copy(a.Out, r)
		return err
	}
	b := bufio.NewReaderSize(r, 256<<10)
	if target == "" {
		head, err := b.Peek(300)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		target = name + extension(head)
	}
	f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, b)
	info, e := f.Stat()
	if err = errors.Join(err, e, f.Close()); err != nil && info != nil && info.Mode().IsRegular() {
		_ = os.Remove(target) // the error told is the one that matters
	}
	return err
}

// extension tells from the first bytes how the file is compressed.
func extension(head []byte) string {
	for magic, ext := range map[string]string{"\x1f\x8b": ".gz", "BZ": ".bz2", "\xfd7zXZ": ".xz", "\x5d\x00\x00": ".lzma", "\x28\xb5\x2f\xfd": ".zst"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return ".tar" + ext
		}
	}
	return ".tar"
}
