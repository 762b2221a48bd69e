package storage

import (
	"context"
	"errors"
	"io"

	"lxd/internal/errs"
)

// Exports tells whether the volumes of a pool can be exported in the format of its driver.
func (s *Service) Exports(ctx context.Context, pool string) (bool, error) {
	p, err := s.pool(ctx, pool)
	_, ok := p.(Exporter)
	return ok, err
}

// Export hands out a volume, and those of its snapshots that are named, in the format of the pool's driver.
func (s *Service) Export(ctx context.Context, from Place, snapshots []string, to PartWriter) error {
	p, err := s.pool(ctx, from.Pool)
	if err != nil {
		return err
	}
	e, ok := p.(Exporter)
	if !ok {
		return errs.Newf(errs.Unsupported, "storage pool %q has no format of its own: export without --optimized-storage", from.Pool)
	}
	err = e.Export(ctx, from.Volume, snapshots, to)
	if errs.Is(err, errs.Unsupported) {
		return errs.Newf(errs.Unsupported, "%w (export it without --optimized-storage)", err)
	}
	return err
}

// Import gives an existing volume without snapshots the content, and the snapshots, that next yields in the format of the named driver. If
// it fails the volume may be gone; its record stays.
func (s *Service) Import(ctx context.Context, to Place, driver string, next func() (Part, io.Reader, error)) error {
	p, err := s.pool(ctx, to.Pool)
	if err != nil {
		return err
	}
	e, ok := p.(Exporter)
	if own := s.driverOf(to.Pool); !ok || own != driver {
		return errs.Newf(errs.Invalid, "the backup is in the own format of the storage driver %q and pool %q has the driver %q: import it into a %s pool with --storage, or export it without --optimized-storage",
			driver, to.Pool, own, driver)
	}
	if err := p.Delete(ctx, to.Volume); err != nil {
		return err
	}
	err = e.Import(ctx, to.Volume, next)
	if errors.Is(err, io.ErrUnexpectedEOF) && errs.KindOf(err) == errs.Internal {
		return errs.Newf(errs.Invalid, "the backup ends in the middle: get it again")
	}
	return err
}

// driverOf is the name of the driver of a pool that is open.
func (s *Service) driverOf(pool string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.open[pool]; o != nil && o.driver != nil {
		return o.driver.Name()
	}
	return ""
}
