package storage

import (
	"context"
	"errors"

	"lxd/internal/errs"
)

// Fill gives an existing volume what fill writes, or makes the snapshot v of it: see Filler. Where the pool cannot do that by itself a
// volume of its own is made of it, and cloned.
func (s *Service) Fill(ctx context.Context, pool string, v Volume, fill func(ctx context.Context, root string) error) error {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	if f, ok := p.(Filler); ok {
		return f.Fill(ctx, v, fill)
	}
	by, ok := p.(cloning)
	if !ok {
		return errs.Newf(errs.Unsupported, "storage pool %q keeps no snapshots: use a pool with another driver", pool)
	}
	return fillByClone(ctx, by, v, fill)
}

// cloning is what filling needs of a pool that is no Filler.
type cloning interface {
	Pool
	Cloner
	Snapshotter
}

// spare is the volume that new content is made in. No volume of a user can have its name.
func spare(v Volume) Volume {
	v.Snapshot, v.Name = "", v.Name+".fill"
	return v
}

// passing is the snapshot by which new content gets into a volume; no user's snapshot has it, and it goes at once.
const passing = "fill.new"

func fillByClone(ctx context.Context, p cloning, v Volume, fill func(ctx context.Context, root string) error) (err error) {
	if err := p.Delete(ctx, spare(v)); err != nil { // a crash may have left it
		return err
	}
	if err := p.Create(ctx, spare(v), fill); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Delete(context.WithoutCancel(ctx), spare(v))) }()
	if v.Snapshot != "" {
		_, err := p.Clone(ctx, spare(v), v)
		return err
	}
	over := v.At(passing)
	if err := p.Delete(ctx, over); err != nil {
		return err
	}
	if _, err := p.Clone(ctx, spare(v), over); err != nil {
		return err
	}
	return errors.Join(p.Restore(ctx, over), p.Delete(context.WithoutCancel(ctx), over))
}

// dropSpare removes what Fill needed besides the volume, if a crash came.
func (*Service) dropSpare(ctx context.Context, p Pool, v Volume) error {
	if _, ok := p.(Filler); ok || v.Snapshot != "" || v.Type == ImageVolume {
		return nil
	}
	return p.Delete(ctx, spare(v))
}
