package storage

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

func volumeSnapshot(a *command.App) *cobra.Command {
	var target string
	var noExpiry, reuse bool
	cmd := a.Leaf(command.Leaf{Use: "snapshot [<remote>:]<pool> <volume> [<snapshot>]", Short: "Snapshot storage volumes", Least: 2, Most: 3,
		Example: "lxc storage volume snapshot default data before-update\n    Keep what the volume data holds under that name",
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			server = server.OnTarget(target)
			path := volumePath([]string{pool, args[1]}) + "/snapshots"
			body := api.StorageVolumeSnapshotsPost{Name: strings.Join(args[2:], "")}
			if noExpiry {
				body.ExpiresAt = &time.Time{}
			}
			if reuse && body.Name != "" {
				if err := drop(a, server, path, body.Name); err != nil {
					return err
				}
			}
			return server.Apply(a.Ctx, http.MethodPost, path, body, "")
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	cmd.Flags().BoolVar(&noExpiry, "no-expiry", false, "Ignore any configured auto-expiry for the storage volume")
	cmd.Flags().BoolVar(&reuse, "reuse", false, "If the snapshot name already exists, delete and create a new one")
	return cmd
}

// drop deletes a snapshot if it is there.
func drop(a *command.App, server *client.Client, path, name string) error {
	all, err := server.Names(a.Ctx, path)
	if err != nil || !slices.Contains(all, name) {
		return err
	}
	return server.Apply(a.Ctx, http.MethodDelete, path+"/"+client.Base(client.Path(name)), nil, "")
}

func volumeRestore(a *command.App) *cobra.Command {
	var target string
	cmd := a.Leaf(command.Leaf{Use: "restore [<remote>:]<pool> <volume> <snapshot>", Short: "Restore storage volume snapshots", Least: 3, Most: 3,
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			server = server.OnTarget(target)
			path := volumePath([]string{pool, args[1]})
			var v api.StorageVolume
			etag, err := server.Get(a.Ctx, path, &v)
			if err != nil {
				return err
			}
			put := v.Writable()
			put.Restore = args[2]
			return server.Apply(a.Ctx, http.MethodPut, path, put, etag)
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

func volumeInfo(a *command.App) *cobra.Command {
	var target string
	cmd := a.Leaf(command.Leaf{Use: "info [<remote>:]<pool> [<type>/]<volume>", Short: "Show storage volume state information", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			server = server.OnTarget(target)
			path := volumePath([]string{pool, args[1]})
			var v api.StorageVolume
			var state api.StorageVolumeState
			if _, err := server.Get(a.Ctx, path, &v); err != nil {
				return err
			}
			if _, err := server.Get(a.Ctx, path+"/state", &state); err != nil {
				return err
			}
			var kept []api.StorageVolumeSnapshot
			if v.Type == "custom" {
				if _, err := server.Get(a.Ctx, command.Recursive(path+"/snapshots"), &kept); err != nil {
					return err
				}
			}
			describe(a, v, state, kept)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

// moment is how times are written.
const moment = "2006/01/02 15:04 MST"

func describe(a *command.App, v api.StorageVolume, state api.StorageVolumeState, kept []api.StorageVolumeSnapshot) {
	a.Printf("Name: %s\n", v.Name)
	if v.Description != "" {
		a.Printf("Description: %s\n", v.Description)
	}
	a.Printf("Type: %s\nContent type: %s\n", v.Type, v.ContentType)
	if v.Location != "" && v.Location != "none" {
		a.Printf("Location: %s\n", v.Location)
	}
	if state.Usage != nil {
		a.Printf("Usage: %s\n", render.Size(state.Usage.Used, 2))
		if state.Usage.Total > 0 {
			a.Printf("Total: %s\n", render.Size(state.Usage.Total, 2))
		}
	}
	a.Printf("Created: %s\n", v.CreatedAt.Local().Format(moment))
	if len(kept) == 0 {
		return
	}
	a.Printf("\nSnapshots:\n")
	var rows [][]string
	for _, s := range kept {
		expires := ""
		if s.ExpiresAt != nil && !s.ExpiresAt.IsZero() {
			expires = s.ExpiresAt.Local().Format(moment)
		}
		rows = append(rows, []string{s.Name, s.Description, s.CreatedAt.Local().Format(moment), expires})
	}
	a.Table([]string{"NAME", "DESCRIPTION", "TAKEN AT", "EXPIRES AT"}, rows)
}
