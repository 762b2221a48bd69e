package instance

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
)

// snapshotFlags are the flags of snapshot.
type snapshotFlags struct {
	stateful, noExpiry, reuse bool
	volumes                   string
}

// Snapshot takes snapshots.
func Snapshot(a *command.App) *cobra.Command {
	var f snapshotFlags
	cmd := a.Leaf(command.Leaf{Use: "snapshot [<remote>:]<instance> [<snapshot name>]", Short: "Create instance snapshots", Least: 1, Most: 2,
		Example: "lxc snapshot c1\n    Keep c1 as it is under a name that the server makes up\n\nlxc snapshot c1 before-update\n    Keep it under that name",
		Run:     func(args []string) error { return takeSnapshot(a, args, f) }})
	s := cmd.Flags()
	s.BoolVar(&f.stateful, "stateful", false, "Whether or not to snapshot the instance's running state")
	s.BoolVar(&f.noExpiry, "no-expiry", false, "Ignore any configured auto-expiry for the instance")
	s.BoolVar(&f.reuse, "reuse", false, "If the snapshot name already exists, delete and create a new one")
	s.StringVar(&f.volumes, "disk-volumes", "", "Disk volumes mode: root or all-exclusive``")
	return cmd
}

func takeSnapshot(a *command.App, args []string, f snapshotFlags) error {
	server, name, err := a.Parse(args[0])
	if err != nil {
		return err
	}
	if name == "" {
		return errors.New("Missing instance name")
	}
	body := api.InstanceSnapshotsPost{Stateful: f.stateful, DiskVolumesMode: f.volumes}
	if len(args) > 1 {
		body.Name = args[1]
	}
	if f.noExpiry {
		body.ExpiresAt = &time.Time{}
	}
	if f.reuse && body.Name != "" {
		if err := dropSnapshot(a, server, name, body.Name); err != nil {
			return err
		}
	}
	_, err = a.Follow(server, "", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, client.Path("instances", name, "snapshots"), body, "")
	})
	return err
}

// dropSnapshot deletes a snapshot if it is there.
func dropSnapshot(a *command.App, server *client.Client, instance, name string) error {
	var all []string
	if _, err := server.Get(a.Ctx, client.Path("instances", instance, "snapshots"), &all); err != nil {
		return err
	}
	for _, url := range all {
		if client.Base(url) == name {
			return server.Apply(a.Ctx, http.MethodDelete, client.Path("instances", instance, "snapshots", name), nil, "")
		}
	}
	return nil
}

// Restore brings an instance back to a snapshot.
func Restore(a *command.App) *cobra.Command {
	var body api.InstancePut
	cmd := a.Leaf(command.Leaf{Use: "restore [<remote>:]<instance> <snapshot>", Short: "Restore instances from snapshots", Least: 2, Most: 2,
		Example: "lxc restore c1 snap0\n    Make c1 what it was at its snapshot snap0",
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			body.Restore = args[1]
			_, err = a.Follow(server, "", func() (*client.Operation, error) {
				return server.Send(a.Ctx, http.MethodPut, client.Path("instances", name), body, "")
			})
			return err
		}})
	cmd.Flags().BoolVar(&body.Stateful, "stateful", false, "Whether or not to restore the instance's running state from snapshot (if available)")
	cmd.Flags().StringVar(&body.RestoreDiskVolumesMode, "disk-volumes", "", "Disk volumes mode: root or all-exclusive``")
	return cmd
}

// Rename renames instances and snapshots.
func Rename(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "rename [<remote>:]<instance>[/<snapshot>] <instance>[/<snapshot>]", Short: "Rename instances and snapshots", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, from, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			return renameInstance(a, server, from, args[1])
		}})
}

// renameInstance gives an instance, or one of its snapshots, a new name.
func renameInstance(a *command.App, server *client.Client, from, to string) error {
	name, snapshot, isSnapshot := strings.Cut(from, "/")
	toName, toSnapshot, toIsSnapshot := strings.Cut(to, "/")
	var body any = api.InstancePost{Name: to}
	switch {
	case isSnapshot && toIsSnapshot && name != toName:
		return fmt.Errorf("Invalid new snapshot name, parent must be the same as source")
	case isSnapshot && !toIsSnapshot:
		return fmt.Errorf("Invalid new snapshot name %q, it must be %s/NAME; to make an instance of %s use: lxc copy", to, name, snapshot)
	case !isSnapshot && toIsSnapshot:
		return errors.New("Invalid new instance name")
	case isSnapshot:
		body = api.InstanceSnapshotPost{Name: toSnapshot}
	}
	_, err := a.Follow(server, "", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, device.InstancePath([]string{from}), body, "")
	})
	return err
}

// rebuildFlags are the flags of rebuild.
type rebuildFlags struct {
	empty, force bool
	project      string
}

// Rebuild gives an instance a new root.
func Rebuild(a *command.App) *cobra.Command {
	var f rebuildFlags
	cmd := a.Leaf(command.Leaf{Use: "rebuild [<remote>:]<image> [<remote>:]<instance>", Short: "Rebuild instances", Least: 1, Most: 2,
		Example: "lxc rebuild debian c1\n    Make the root of c1 anew from the image debian\n\nlxc rebuild c1 --empty\n    Empty it",
		Run:     func(args []string) error { return rebuildInstance(a, args, f) }})
	cmd.Flags().BoolVar(&f.empty, "empty", false, "Rebuild as an empty instance")
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "If an instance is running, stop it and then rebuild it")
	cmd.Flags().StringVar(&f.project, "target-project", "", "Project of the instance``")
	return cmd
}

func rebuildInstance(a *command.App, args []string, f rebuildFlags) error {
	switch {
	case f.empty && len(args) > 1:
		return errors.New("--empty cannot be combined with an image name")
	case !f.empty && len(args) < 2:
		return errors.New("Missing instance name")
	}
	server, name, err := a.Parse(args[len(args)-1])
	if err != nil {
		return err
	}
	if f.project != "" {
		server = server.InProject(f.project)
	}
	body := api.InstancesPost{Source: api.InstanceSource{Type: api.SourceTypeNone}}
	if !f.empty {
		if err := imageSource(a, server, args[0], &body); err != nil {
			return err
		}
	}
	var inst api.Instance
	if _, err := server.Get(a.Ctx, client.Path("instances", name), &inst); err != nil {
		return err
	}
	if up(&inst) {
		if !f.force {
			return errors.New("The instance is currently running, stop it first or pass --force")
		}
		stop := api.InstanceStatePut{Action: "stop", Timeout: -1, Force: true}
		if err := server.Apply(a.Ctx, http.MethodPut, client.Path("instances", name, "state"), stop, ""); err != nil {
			return fmt.Errorf("Stopping the instance failed: %w", err)
		}
	}
	_, err = a.Follow(server, "", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, client.Path("instances", name, "rebuild"), api.InstanceRebuildPost{Source: body.Source}, "")
	})
	if err != nil || !up(&inst) {
		return err
	}
	return startCreated(a, &created{server: server, name: name})
}
