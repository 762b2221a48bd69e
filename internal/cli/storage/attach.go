package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
)

// types are the types of volumes, as they can stand before a name.
var types = []string{"custom", "image", "container", "virtual-machine"}

// named takes [type/]volume[/snapshot] apart; custom is the type that needs no mention.
func named(arg string) (kind, name, snapshot string) {
	kind, name, ok := strings.Cut(arg, "/")
	if !ok || !slices.Contains(types, kind) {
		kind, name = "custom", arg
	}
	name, snapshot, _ = strings.Cut(name, "/")
	return kind, name, snapshot
}

// shown is the device that shows a volume; where says under which name and path, as the arguments that may follow the owner.
func shown(pool, arg string, where []string) (name string, d map[string]string, err error) {
	kind, volume, snapshot := named(arg)
	d = map[string]string{"type": "disk", "pool": pool, "source": volume}
	name = volume
	if snapshot != "" {
		d["source.snapshot"] = snapshot
		name += "-" + snapshot
	}
	if kind != "custom" {
		d["source.type"] = kind
	}
	switch {
	case len(where) == 1 && strings.HasPrefix(where[0], "/"):
		d["path"] = where[0]
	case len(where) > 0:
		name = where[0]
	}
	if len(where) > 1 {
		d["path"] = where[1]
	}
	if d["path"] == "" && kind == "custom" {
		return "", nil, fmt.Errorf("Say where %s is to be mounted, such as /mnt/%s", volume, volume)
	}
	return name, d, nil
}

// volumeAttach makes the command that gives the owner of devices a volume.
func volumeAttach[F, P any](a *command.App, d device.Set[F, P], use, short string) *cobra.Command {
	return a.Leaf(command.Leaf{Use: use, Short: short, Least: 3, Most: 5,
		Run: func(args []string) error {
			_, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			name, dev, err := shown(pool, args[1], args[3:])
			if err != nil {
				return err
			}
			return d.Attach(device.SameRemote([]string{args[0], args[2]}), name, dev)
		}})
}

// volumeDetach makes the command that takes a volume from the owner of devices.
func volumeDetach[F, P any](a *command.App, d device.Set[F, P], use, short string) *cobra.Command {
	return a.Leaf(command.Leaf{Use: use, Short: short, Least: 3, Most: 4,
		Run: func(args []string) error {
			_, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			_, volume, snapshot := named(args[1])
			name := strings.Join(args[3:], "")
			err = d.Detach(device.SameRemote([]string{args[0], args[2]}), name, func(cfg map[string]string) bool {
				source, kept, _ := strings.Cut(cfg["source"], "/")
				if cfg["source.snapshot"] != "" {
					kept = cfg["source.snapshot"]
				}
				return cfg["type"] == "disk" && cfg["pool"] == pool && source == volume && kept == snapshot
			})
			if errors.Is(err, device.ErrNoMatch) {
				return fmt.Errorf("No device of %s shows the storage volume %s", args[2], args[1])
			}
			return err
		}})
}
