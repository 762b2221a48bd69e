package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
)

// facts is what an upload turned out to be.
type facts struct {
	metadata api.ImageMetadata
	kind     string // the type of instance that it is for
}

// inspection looks through the files of an image before they are kept: a file that is cut short, or that would be refused when
// an instance is made from it, is refused now.
type inspection struct {
	ctx      context.Context
	progress func(text string)
	size     int64 // of both files
	before   int64 // read in files that are done
	told     int64 // percent
}

// inspect checks the files of an upload. root is "" for a unified image.
func (i *inspection) inspect(meta, root, rootName string) (f facts, err error) {
	seen, err := i.walk(meta, nil, &f, root != "")
	if err != nil {
		return f, err
	}
	if !seen.metadata {
		return f, errs.Newf(errs.Invalid, "the archive has no metadata.yaml at its top: it is no image")
	}
	if root != "" {
		return f, i.inspectRoot(&f, root, rootName)
	}
	switch {
	case seen.rootfs:
		f.kind = string(api.InstanceTypeContainer)
	case seen.disk:
		f.kind = string(api.InstanceTypeVirtualMachine)
	default:
		return f, errs.Newf(errs.Invalid, "the archive has neither rootfs/ nor rootfs.img: it is no image, or the metadata of a split one")
	}
	return f, nil
}

// inspectRoot checks the second file of a split image.
func (i *inspection) inspectRoot(f *facts, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	format, err := archive.FormatOf(file)
	if err != nil {
		return errs.Newf(errs.KindOf(err), "the rootfs: %w", err)
	}
	f.kind = string(api.InstanceTypeContainer)
	if name == diskPart {
		f.kind = string(api.InstanceTypeVirtualMachine)
		if format != archive.QCOW2 {
			return errs.Newf(errs.Invalid, "the disk of a virtual machine must be a qcow2 file, this is %s", format)
		}
		return nil
	}
	switch format {
	case archive.QCOW2:
		return errs.Newf(errs.Invalid, "the rootfs of a container cannot be a qcow2 disk: send it as %q for a virtual machine", diskPart)
	case archive.Squashfs:
		return checkSquashfs(file)
	}
	seen, err := i.walk(path, func(string) bool { return true }, nil, true)
	if err == nil && seen.entries == 0 {
		return errs.Newf(errs.Invalid, "the rootfs is an empty archive")
	}
	return err
}

// seen is what an archive has at its top.
type seen struct {
	metadata, rootfs, disk bool
	entries                int
}

// walk is the way through one archive.
type walk struct {
	*inspection
	*archive.Reader
	// keep says which entries will be unpacked.
	keep func(string) bool
	// facts is where to put what metadata.yaml says; nil in the second file of a split image.
	facts *facts
	// split says that the rootfs is in another file.
	split bool
	seen  seen
}

// walk reads an archive. keep nil means the entries of an image.
func (i *inspection) walk(path string, keep func(string) bool, f *facts, split bool) (seen, error) {
	a, err := archive.OpenFile(i.ctx, path)
	if err != nil {
		return seen{}, err
	}
	defer a.Close()
	if keep == nil {
		keep = func(name string) bool { _, ok := wanted(name); return ok }
	}
	w := walk{inspection: i, Reader: a, keep: keep, facts: f, split: split}
	last := ""
	for {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			i.before += a.At()
			if err := a.Rest(); err != nil {
				return w.seen, i.broken(err, last)
			}
			return w.seen, nil
		}
		if err != nil {
			return w.seen, i.broken(err, last)
		}
		last = h.Name
		if err := w.entry(h); err != nil {
			return w.seen, err
		}
		if a.At() > thorough && w.knows() {
			return w.seen, nil
		}
	}
}

// thorough is how far into a file every entry is looked at. Of larger files no more is read than is needed to know what they are: their end
// is looked at when they are unpacked, which refuses the same things.
const thorough = 2 << 20

// knows tells whether the archive has shown what it is.
func (w *walk) knows() bool {
	return w.facts == nil || w.seen.metadata && (w.seen.rootfs || w.seen.disk || w.split)
}

func (w *walk) entry(h *tar.Header) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := entryName(h.Name)
	if err != nil {
		return err
	}
	if w.keep(name) && h.Typeflag == tar.TypeLink {
		if _, err := entryName(h.Linkname); err != nil {
			return errs.Newf(errs.Invalid, "archive entry %q links out of the image: %w", h.Name, err)
		}
	}
	w.tell(w.Reader)
	return w.look(name, h)
}

// look notes what an entry makes of the archive.
func (w *walk) look(name string, h *tar.Header) (err error) {
	w.seen.entries++
	switch {
	case w.facts != nil && name == metadataFile:
		if h.Typeflag != tar.TypeReg {
			return errs.Newf(errs.Invalid, "metadata.yaml is not a plain file")
		}
		w.seen.metadata = true
		if w.facts.metadata, err = ParseMetadata(w.Reader); err != nil && errs.KindOf(err) == errs.Internal {
			return w.broken(err, h.Name)
		}
		return err
	case strings.HasPrefix(name, "rootfs/"), name == rootFolder && h.Typeflag == tar.TypeDir:
		w.seen.rootfs = true
	case name == diskPart:
		w.seen.disk = true
	}
	return nil
}

// broken explains an error of the reader: the archive is at fault, unless the caller gave up.
func (i *inspection) broken(err error, last string) error {
	if e := i.ctx.Err(); e != nil {
		return e
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errs.Newf(errs.Invalid, "the archive ends in the middle, after entry %q: get or build it again", last)
	}
	return errs.Newf(errs.Invalid, "the archive is damaged after entry %q: %w", last, err)
}

// tell shows how far the inspection is.
func (i *inspection) tell(a *archive.Reader) {
	percent := (i.before + a.At()) * 100 / max(i.size, 1)
	if i.progress != nil && percent > i.told {
		i.told = percent
		i.progress(fmt.Sprintf("Checking: %d%%", min(percent, 100)))
	}
}

// entryName is the name of an archive's entry relative to its top; one that would lead out of it is refused.
func entryName(s string) (string, error) {
	if strings.HasPrefix(s, "/") {
		return "", errs.Newf(errs.Invalid, "archive entry %q has an absolute name: pack it with relative names", s)
	}
	var parts []string
	for p := range strings.SplitSeq(s, "/") {
		switch p {
		case "", ".":
		case "..":
			return "", errs.Newf(errs.Invalid, "archive entry %q leaves its folder by \"..\": it is refused", s)
		default:
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/"), nil
}
