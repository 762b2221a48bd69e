package image

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/host/fs"
)

// Names at the top of an image, and of a volume made from it.
const (
	metadataFile    = "metadata.yaml"
	templatesFolder = "templates"
	rootFolder      = "rootfs"
)

// wanted tells whether an entry of a unified image, or of the first file of a split one, is unpacked.
func wanted(name string) (string, bool) {
	top, _, _ := strings.Cut(name, "/")
	return name, name == metadataFile || top == templatesFolder || top == rootFolder
}

// Unpack writes the content of an image below root, an empty folder: metadata.yaml, templates/ and rootfs/. Nothing in the image
// can reach outside. On an error, what was written stays for the caller to remove with root.
func (s *Service) Unpack(ctx context.Context, fingerprint, root string, progress func(string)) error {
	if len(fingerprint) != maxPrefix || !isHex(fingerprint) {
		return errs.Newf(errs.Internal, "%q is no fingerprint", fingerprint)
	}
	defer s.reading.begin(fingerprint)()
	size, err := fileSize(s.metaFile(fingerprint))
	if errors.Is(err, iofs.ErrNotExist) {
		return errs.Newf(errs.NotFound, "the files of image %s are gone: import it again", fingerprint)
	}
	if err != nil {
		return err
	}
	split, err := fileSize(s.rootFile(fingerprint))
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	u := unpacking{ctx: ctx, size: size + split, progress: progress, scratch: s.d.Tmp}
	if err := u.extract(s.metaFile(fingerprint), root, wanted); err != nil {
		return err
	}
	if split > 0 {
		return u.root(s.rootFile(fingerprint), filepath.Join(root, rootFolder))
	}
	if st, err := os.Lstat(filepath.Join(root, rootFolder)); err != nil || !st.IsDir() {
		return errs.Newf(errs.Invalid, "the image has no folder rootfs: it is not for containers")
	}
	return nil
}

func fileSize(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// unpacking shows how far it is by how much of the files was read.
type unpacking struct {
	ctx      context.Context
	size     int64
	before   int64
	progress func(string)
	// scratch is a folder that may be covered for a program.
	scratch string
}

// root unpacks the second file of a split image to dest.
func (u *unpacking) root(path, dest string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	format, err := archive.FormatOf(f)
	if err != nil {
		return err
	}
	// A folder that the first file brought along would be written into, or stand in for a link.
	if err := fs.RemoveAll(dest); err != nil {
		return err
	}
	switch format {
	case archive.QCOW2:
		return errs.Newf(errs.Unsupported, "the image is for virtual machines, which this server does not run yet")
	case archive.Squashfs:
		return unpackSquashfs(u.ctx, path, dest, u.scratch)
	}
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	return u.extract(path, dest, nil)
}

func (u *unpacking) extract(path, dest string, choose func(string) (string, bool)) error {
	a, err := archive.OpenFile(u.ctx, path)
	if err != nil {
		return err
	}
	defer a.Close()
	o := fs.Options{Select: choose, Unprivileged: os.Geteuid() != 0}
	if u.progress != nil {
		o.Progress = func(int64) {
			u.progress(fmt.Sprintf("Unpack: %d%%", min((u.before+a.At())*100/max(u.size, 1), 100)))
		}
	}
	if _, err := fs.Extract(u.ctx, a.Reader, dest, o); err != nil {
		return err
	}
	u.before += a.At()
	return nil
}
