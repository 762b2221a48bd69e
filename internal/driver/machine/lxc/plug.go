package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

var (
	_ machine.Plugger    = (*container)(nil)
	_ machine.Namespacer = (*container)(nil)
)

// Plug lets connect make interfaces in the running container.
func (c *container) Plug(ctx context.Context, connect machine.Connect) error {
	ns, err := c.Namespace("net")
	if err != nil {
		return err
	}
	return errors.Join(connect(ctx, ns), ns.Close())
}

// Namespace opens a namespace of the first process.
func (c *container) Namespace(kind string) (*os.File, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", c.handle.PID, filepath.Base(kind)))
	if c.over() { // the number may be another's by now
		if err == nil {
			_ = ns.Close() // of no consequence: it was read only
		}
		return nil, errs.Newf(errs.NotFound, "machine %s does not run", c.handle.ID)
	}
	return ns, err
}
