package storage

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
)

func volumeKind(a *command.App) *command.Kind[api.StorageVolume, api.StorageVolumePut] {
	return &command.Kind[api.StorageVolume, api.StorageVolumePut]{
		App: a, Noun: "storage volume", Branch: "storage volume", Words: "[<remote>:]<pool> [<type>/]<volume>", Names: 2, Targeted: true,
		Path:     volumePath,
		Writable: func(v *api.StorageVolume) api.StorageVolumePut { return v.Writable() },
		Settings: func(p *api.StorageVolumePut) *map[string]string { return &p.Config },
	}
}

func volumeShow(a *command.App) *cobra.Command {
	var target string
	cmd := a.Leaf(command.Leaf{Use: "show [<remote>:]<pool> [<type>/]<volume>[/<snapshot>]", Short: "Show storage volume configurations", Least: 2, Most: 2,
		Run: func(args []string) error {
			if _, _, snapshot := named(args[1]); snapshot == "" {
				return volumeKind(a).ShowObject(args, target)
			}
			k := &command.Kind[api.StorageVolumeSnapshot, api.StorageVolumeSnapshotPut]{App: a, Noun: "storage volume snapshot", Names: 2, Path: volumePath}
			return k.ShowObject(args, target)
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

// used gives cmd another usage line.
func used(cmd *cobra.Command, use string) *cobra.Command {
	cmd.Use = use
	return cmd
}

func volumeCreate(a *command.App) *cobra.Command {
	var target, content string
	cmd := a.Leaf(command.Leaf{Use: "create [<remote>:]<pool> <volume> [key=value...]", Short: "Create new custom storage volumes", Least: 2, Most: -1,
		Example: "lxc storage volume create default data size=10GiB\n    Create a volume that may grow to 10GiB",
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			config, err := command.KeyValues(args[2:])
			if err != nil {
				return err
			}
			body := api.StorageVolumesPost{Name: args[1], Type: "custom", ContentType: content}
			body.Config = config
			path := client.Path("storage-pools", pool, "volumes", "custom")
			if err := server.OnTarget(target).Apply(a.Ctx, http.MethodPost, path, body, ""); err != nil {
				return err
			}
			a.Say("Storage volume %s created", args[1])
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	cmd.Flags().StringVar(&content, "type", "filesystem", "Content type, block or filesystem``")
	return cmd
}

func volumeDelete(a *command.App) *cobra.Command {
	var target string
	cmd := a.Leaf(command.Leaf{Use: "delete [<remote>:]<pool> <volume>[/<snapshot>]", Aliases: []string{"rm"}, Short: "Delete storage volumes", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			if err := server.OnTarget(target).Apply(a.Ctx, http.MethodDelete, volumePath([]string{pool, args[1]}), nil, ""); err != nil {
				return err
			}
			a.Say("Storage volume %s deleted", args[1])
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

// volumePath is the URL of the volume named [type/]volume in a pool; custom is the type that needs no mention.
func volumePath(n []string) string {
	kind, name, snapshot := named(n[1])
	path := []string{"storage-pools", n[0], "volumes", kind, name}
	if snapshot != "" {
		path = append(path, "snapshots", snapshot)
	}
	return client.Path(path...)
}

func volumeCommand(a *command.App) *cobra.Command {
	k := volumeKind(a)
	instances, profiles := device.InstanceSet(a), device.ProfileSet(a)
	return command.Branch("volume", "Manage storage volumes",
		volumeAttach(a, instances, "attach [<remote>:]<pool> [<type>/]<volume>[/<snapshot>] <instance> [<device name>] [<path>]", "Attach new storage volumes to instances"),
		volumeAttach(a, profiles, "attach-profile [<remote:>]<pool> [<type>/]<volume>[/<snapshot>] <profile> [<device name>] [<path>]", "Attach new storage volumes to profiles"),
		volumeCopy(a), volumeCreate(a), volumeDelete(a),
		volumeDetach(a, instances, "detach [<remote>:]<pool> [<type>/]<volume>[/<snapshot>] <instance> [<device name>]", "Detach storage volumes from instances"),
		volumeDetach(a, profiles, "detach-profile [<remote:>]<pool> [<type>/]<volume>[/<snapshot>] <profile> [<device name>]", "Detach storage volumes from profiles"),
		k.Edit(), volumeExport(a), used(k.Get(), "get [<remote>:]<pool> [<type>/]<volume>[/<snapshot>] <key>"), volumeImport(a), volumeInfo(a),
		volumeList(a), volumeMove(a), volumeRename(a), volumeRestore(a), k.Set(),
		volumeShow(a), volumeSnapshot(a), k.Unset())
}

func volumeList(a *command.App) *cobra.Command {
	var all bool
	var columns string
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:][<pool>] [<filter>...]", Aliases: []string{"ls"}, Short: "List storage volumes", Most: -1,
		Long: `List storage volumes

A filter is a field and its value, such as type=custom, or a configuration key and its value.

Columns:
  p - Storage pool name
  e - Project name
  t - Type of volume (custom, image, container or virtual-machine)
  n - Name
  d - Description
  c - Content type (filesystem or block)
  u - Number of references (used by)
  L - Location of the volume (e.g. its cluster member)`,
		Run: func(args []string) error {
			server, pool, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			path := command.Recursive("/1.0/storage-volumes")
			if pool != "" {
				path = command.Recursive(client.Path("storage-pools", pool, "volumes"))
				columns = strings.Replace(columns, "p", "", 1)
			}
			if all {
				path = command.Query(path, "all-projects", "true")
			}
			if len(args) > 1 {
				path = command.Query(path, "filter", volumeFilter(args[1:]))
			}
			var volumes []api.StorageVolume
			if _, err := server.Get(a.Ctx, path, &volumes); err != nil {
				return err
			}
			return printVolumes(a, volumes, volumeLetters(columns, all, volumes), *shape)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "Display volumes from all projects")
	cmd.Flags().StringVarP(&columns, "columns", "c", "petndcuL", "Columns``")
	shape = command.Format(cmd)
	return cmd
}

// volumeLetters leaves columns that would be the same in every row out of the default ones.
func volumeLetters(columns string, all bool, volumes []api.StorageVolume) string {
	if !all {
		columns = strings.Replace(columns, "e", "", 1)
	}
	clustered := func(v api.StorageVolume) bool { return v.Location != "" && v.Location != "none" }
	if !slices.ContainsFunc(volumes, clustered) {
		columns = strings.Replace(columns, "L", "", 1)
	}
	return columns
}

// volumeFilter is arguments of the form key=value in the server's grammar.
func volumeFilter(args []string) string {
	var terms []string
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			key, value = "name", arg
		}
		if strings.Contains(key, ".") && !strings.HasPrefix(key, "config.") {
			key = "config." + key
		}
		terms = append(terms, key+" eq "+value)
	}
	return strings.Join(terms, " and ")
}

func printVolumes(a *command.App, volumes []api.StorageVolume, letters, shape string) error {
	cols, err := command.Pick(letters, []command.Column[api.StorageVolume]{
		command.Col('p', "POOL", func(v *api.StorageVolume) string { return v.Pool }),
		command.Col('e', "PROJECT", func(v *api.StorageVolume) string { return v.Project }),
		command.Col('t', "TYPE", volumeType),
		command.Col('n', "NAME", func(v *api.StorageVolume) string { return v.Name }),
		command.Col('d', "DESCRIPTION", func(v *api.StorageVolume) string { return v.Description }),
		command.Col('c', "CONTENT-TYPE", func(v *api.StorageVolume) string { return cmp.Or(v.ContentType, "filesystem") }),
		command.Col('u', "USED BY", func(v *api.StorageVolume) string { return strconv.Itoa(len(v.UsedBy)) }),
		command.Col('L', "LOCATION", func(v *api.StorageVolume) string { return v.Location }),
	})
	if err != nil {
		return err
	}
	header, rows := command.LayOut(cols, volumes)
	return a.List(shape, header, rows, volumes)
}

func volumeType(v *api.StorageVolume) string {
	if strings.Contains(v.Name, "/") {
		return v.Type + " (snapshot)"
	}
	return v.Type
}
