package lxc

import (
	"context"
	"fmt"
	"os"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

var _ machine.Plugger = (*container)(nil)

// Plug lets connect make interfaces in the running container.
func (c *container) Plug(ctx context.Context, connect machine.Connect) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.handle.PID))
	if c.over() { // the number may be another's by now
		err = errs.Newf(errs.NotFound, "machine %s does not run", c.handle.ID)
	}
	if err == nil {
		err = connect(ctx, ns)
	}
	if ns != nil {
		_ = ns.Close() // of no consequence: it was read only
	}
	return err
}
