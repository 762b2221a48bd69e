package disk

import (
	"context"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/schema"
)

// root is the root disk. There is nothing to mount: the machine's plan has the root file system in a place of its own.
type root struct{ cfg device.Config }

func openRoot(k *schema.Schema, cfg device.Config) (device.Device, error) {
	switch {
	case cfg["source"] != "":
		return nil, errs.Newf(errs.Invalid, "the root disk (path /) is a volume of its own: it has no source")
	case cfg["pool"] == "":
		return nil, errs.Newf(errs.Invalid, "the root disk names no storage pool: set its pool")
	case k.Bool(cfg, "readonly"):
		return nil, errs.Newf(errs.Unsupported, "a root disk that can only be read is not supported yet by this server")
	}
	for _, name := range []string{"shift", "recursive", "propagation", "source.snapshot", "source.type", "raw.mount.options"} {
		if cfg[name] != "" && cfg[name] != "false" {
			return nil, errs.Newf(errs.Invalid, "%s cannot be set on the root disk", name)
		}
	}
	return root{cfg}, checkLimits(cfg)
}

// Attach grants no more than limits.
func (r root) Attach(context.Context) (device.Grant, error) {
	if t := throttle(r.cfg); t != nil {
		return device.Grant{Throttles: []device.Throttle{*t}}, nil
	}
	return device.Grant{}, nil
}

// Detach has nothing to undo.
func (root) Detach(context.Context) error { return nil }
