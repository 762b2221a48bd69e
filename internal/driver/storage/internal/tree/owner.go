package tree

import (
	"context"

	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
)

// Owners says whom the files of a volume belong to on disk. It is kept with the volume.
type Owners struct {
	// Shifted says that the files' owners on disk are the host's ids of Map, and not those inside.
	Shifted bool      `json:"shifted,omitempty"`
	Map     idmap.Map `json:"map,omitempty"`
	// Next are the maps that the owners are on their way to, in order.
	Next []idmap.Map `json:"next,omitempty"`
}

// Move gives the files of the tree at path the owners of m. save keeps o: each step is kept before it begins, so that one that was cut short
// is resumed.
func (o *Owners) Move(ctx context.Context, path string, m idmap.Map, save func() error) error {
	if err := o.resume(ctx, path, save); err != nil {
		return err
	}
	steps, err := o.Map.Steps(m)
	if err != nil {
		return err
	}
	o.Next = steps
	if o.Shifted && len(steps) == 0 {
		return nil
	}
	o.Shifted = true
	if err := save(); err != nil {
		return err
	}
	return o.resume(ctx, path, save)
}

// resume takes the steps that are open.
func (o *Owners) resume(ctx context.Context, path string, save func() error) error {
	for len(o.Next) > 0 {
		to := o.Next[0]
		if err := fs.Reown(ctx, path, o.Map.Shift(to)); err != nil {
			return err
		}
		o.Map, o.Next = to, o.Next[1:]
		if err := save(); err != nil {
			return err
		}
	}
	return nil
}
