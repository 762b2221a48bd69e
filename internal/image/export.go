package image

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/store"
)

// Part is one file of an image that is sent out.
type Part struct {
	// Name is the form name of a part of a split image.
	Name string
	// Filename is what the receiver should call it.
	Filename string
	*os.File
}

// Retrieved announces that somebody got the files of an image.
func (s *Service) Retrieved(ctx context.Context, proj, prefix string) error {
	return s.tell(ctx, api.LifecycleImageRetrieved, proj, prefix)
}

// tell announces what happened to an image that does not change it.
func (s *Service) tell(ctx context.Context, action, proj, prefix string) error {
	return s.update(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := find(tx, owner, prefix)
		if err == nil {
			tx.Announce(r.change(action))
		}
		return err
	})
}

// Export opens the files of an image: one, or two for a split image. The caller closes them.
func (s *Service) Export(ctx context.Context, proj, prefix string) (parts []Part, err error) {
	var r Record
	err = s.view(ctx, proj, func(tx store.Tx, owner string) (err error) {
		r, err = find(tx, owner, prefix)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll(parts)
			parts = nil
		}
	}()
	defer s.reading.begin(r.Fingerprint)()
	meta, err := openPart(metaPart, s.metaFile(r.Fingerprint), r.Fingerprint)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, errs.Newf(errs.Internal, "the files of image %s are gone: import it again", r.Fingerprint)
	}
	if err != nil {
		return nil, err
	}
	parts = append(parts, meta)
	root, err := openPart(rootPart, s.rootFile(r.Fingerprint), r.Fingerprint)
	if errors.Is(err, iofs.ErrNotExist) {
		return parts, nil
	}
	if err != nil {
		return parts, err
	}
	parts[0].Filename = "meta-" + parts[0].Filename
	return append(parts, root), nil
}

func openPart(name, path, fingerprint string) (Part, error) {
	f, err := os.Open(path)
	if err != nil {
		return Part{}, err
	}
	format, err := archive.FormatOf(f)
	if err != nil {
		return Part{}, errors.Join(err, f.Close())
	}
	if format == archive.QCOW2 {
		name = diskPart
	}
	return Part{name, fingerprint + string(format), f}, nil
}

func closeAll[C io.Closer](files []C) {
	for _, f := range files {
		_ = f.Close() // opened for reading: nothing can be lost
	}
}
