package storage

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// copyFlags are the flags of copy and move.
type copyFlags struct {
	mode, target, destination, project string
	volumeOnly, refresh                bool
}

func (f *copyFlags) declare(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.mode, "mode", "pull", "Transfer mode. One of pull, push or relay``")
	s.StringVar(&f.target, "target", "", "Cluster member name``")
	s.StringVar(&f.destination, "destination-target", "", "Destination cluster member name``")
	s.StringVar(&f.project, "target-project", "", "Copy to a project different from the source``")
}

// end is one of the two ends of a copy: POOL/VOLUME or, as a source, POOL/VOLUME/SNAPSHOT.
type end struct {
	server       *client.Client
	pool, volume string
}

func parseEnd(a *command.App, arg string) (e end, err error) {
	server, path, err := a.Parse(arg)
	if err != nil {
		return e, err
	}
	pool, volume, ok := strings.Cut(path, "/")
	if !ok || pool == "" || volume == "" {
		return e, errors.New("Name the storage volume as POOL/VOLUME")
	}
	return end{server, pool, strings.TrimPrefix(volume, "custom/")}, nil
}

func parseEnds(a *command.App, args []string) (from, to end, err error) {
	if from, err = parseEnd(a, args[0]); err != nil {
		return from, to, err
	}
	if to, err = parseEnd(a, args[1]); err != nil {
		return from, to, err
	}
	if from.server.URL("") != to.server.URL("") {
		err = errors.New("Copying volumes between servers is not supported yet: export the volume and import it on the other server")
	}
	return from, to, err
}

func volumeCopy(a *command.App) *cobra.Command {
	var f copyFlags
	cmd := a.Leaf(command.Leaf{Use: "copy [<remote>:]<pool>/<volume>[/<snapshot>] [<remote>:]<pool>/<volume>", Aliases: []string{"cp"}, Short: "Copy storage volumes",
		Least: 2, Most: 2, Example: "lxc storage volume copy default/data default/copy\n    Copy the volume data with its snapshots\n\n" +
			"lxc storage volume copy default/data/snap0 fast/old\n    Copy what data held when snap0 was taken to the pool fast",
		Run: func(args []string) error {
			from, to, err := parseEnds(a, args)
			if err != nil {
				return err
			}
			return f.copy(a, from, to)
		}})
	f.declare(cmd)
	cmd.Flags().BoolVar(&f.volumeOnly, "volume-only", false, "Copy the volume without its snapshots")
	cmd.Flags().BoolVar(&f.refresh, "refresh", false, "Refresh and update the existing storage volume copies")
	return cmd
}

func (f *copyFlags) copy(a *command.App, from, to end) error {
	var src api.StorageVolume
	name, _, _ := strings.Cut(from.volume, "/")
	if _, err := from.server.OnTarget(f.target).Get(a.Ctx, volumePath([]string{from.pool, name}), &src); err != nil {
		return err
	}
	body := api.StorageVolumesPost{Name: to.volume, Type: "custom", ContentType: src.ContentType, Source: api.StorageVolumeSource{
		Type: api.SourceTypeCopy, Name: from.volume, Pool: from.pool, VolumeOnly: f.volumeOnly, Refresh: f.refresh}}
	server := to.server.OnTarget(f.destination)
	if f.project != "" {
		body.Source.Project = cmp.Or(from.server.Project(), "default")
		server = server.InProject(f.project)
	}
	_, err := a.Follow(server, "Copying the storage volume", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, client.Path("storage-pools", to.pool, "volumes", "custom"), body, "")
	})
	if err == nil {
		a.Say("Storage volume copied successfully!")
	}
	return err
}

func volumeMove(a *command.App) *cobra.Command {
	var f copyFlags
	cmd := a.Leaf(command.Leaf{Use: "move [<remote>:]<pool>/<volume> [<remote>:]<pool>/<volume>", Aliases: []string{"mv"}, Short: "Move storage volumes",
		Least: 2, Most: 2, Example: "lxc storage volume move default/data fast/data\n    Move the volume data to the pool fast; what uses it follows",
		Run: func(args []string) error {
			from, to, err := parseEnds(a, args)
			if err != nil {
				return err
			}
			body := api.StorageVolumePost{Name: to.volume, Project: f.project}
			if to.pool != from.pool {
				body.Pool = to.pool
			}
			server := from.server.OnTarget(f.target)
			_, err = a.Follow(server, "Moving the storage volume", func() (*client.Operation, error) {
				return server.Send(a.Ctx, http.MethodPost, volumePath([]string{from.pool, from.volume}), body, "")
			})
			if err == nil {
				a.Say("Storage volume moved successfully!")
			}
			return err
		}})
	f.declare(cmd)
	return cmd
}

func volumeRename(a *command.App) *cobra.Command {
	var target string
	cmd := a.Leaf(command.Leaf{Use: "rename [<remote>:]<pool> <old name>[/<old snapshot name>] <new name>[/<new snapshot name>]", Short: "Rename storage volumes and snapshots",
		Least: 3, Most: 3,
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			name, snapshot, isSnapshot := strings.Cut(args[1], "/")
			toName, toSnapshot, toIsSnapshot := strings.Cut(args[2], "/")
			if isSnapshot != toIsSnapshot || isSnapshot && name != toName {
				return errors.New("Both names must be those of volumes, or of snapshots of the same volume")
			}
			var body any = api.StorageVolumePost{Name: toName}
			noun, from, to := "storage volume", name, toName
			if isSnapshot {
				body, noun, from, to = api.StorageVolumeSnapshotPost{Name: toSnapshot}, "storage volume snapshot", snapshot, toSnapshot
			}
			if err := server.OnTarget(target).Apply(a.Ctx, http.MethodPost, volumePath([]string{pool, args[1]}), body, ""); err != nil {
				return err
			}
			a.Say("Renamed %s from %q to %q", noun, from, to)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}
