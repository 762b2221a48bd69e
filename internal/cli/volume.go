package cli

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
)

func volumeKind(a *App) *kind[api.StorageVolume, api.StorageVolumePut] {
	return &kind[api.StorageVolume, api.StorageVolumePut]{
		app: a, noun: "storage volume", words: "[<remote>:]<pool> [<type>/]<volume>", names: 2, targeted: true,
		path:     volumePath,
		writable: func(v *api.StorageVolume) api.StorageVolumePut { return v.Writable() },
		settings: func(p *api.StorageVolumePut) *map[string]string { return &p.Config },
	}
}

// volumeOn completes the names that cmd takes; use replaces its usage unless it is empty.
func volumeOn(a *App, cmd *cobra.Command, use string) *cobra.Command {
	if use != "" {
		cmd.Use = use
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return a.volumes(args, prefix), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func volumeCreate(a *App) *cobra.Command {
	var target, content string
	cmd := a.leaf(spec{use: "create [<remote>:]<pool> <volume> [key=value...]", short: "Create new custom storage volumes", least: 2, most: -1,
		example: "lxc storage volume create default data size=10GiB\n    Create a volume that may grow to 10GiB",
		run: func(args []string) error {
			server, pool, err := a.parse(args[0])
			if err != nil {
				return err
			}
			config, err := keyValues(args[2:])
			if err != nil {
				return err
			}
			body := api.StorageVolumesPost{Name: args[1], Type: "custom", ContentType: content}
			body.Config = config
			path := client.Path("storage-pools", pool, "volumes", "custom")
			if err := server.OnTarget(target).Apply(a.ctx, post, path, body, ""); err != nil {
				return err
			}
			a.say("Storage volume %s created", args[1])
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	cmd.Flags().StringVar(&content, "type", "filesystem", "Content type, block or filesystem``")
	return volumeOn(a, cmd, "")
}

func volumeDelete(a *App) *cobra.Command {
	var target string
	cmd := a.leaf(spec{use: "delete [<remote>:]<pool> <volume>[/<snapshot>]", aliases: []string{"rm"}, short: "Delete storage volumes", least: 2, most: 2,
		run: func(args []string) error {
			server, pool, err := a.parse(args[0])
			if err != nil {
				return err
			}
			if err := server.OnTarget(target).Apply(a.ctx, remove, volumePath([]string{pool, args[1]}), nil, ""); err != nil {
				return err
			}
			a.say("Storage volume %s deleted", args[1])
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return volumeOn(a, cmd, "")
}

// volumePath is the URL of the volume named [type/]volume in a pool; custom is the type that needs no mention.
func volumePath(n []string) string {
	kind, name, ok := strings.Cut(n[1], "/")
	if !ok || !slices.Contains([]string{"custom", "image", "container", "virtual-machine"}, kind) {
		kind, name = "custom", n[1]
	}
	path := []string{"storage-pools", n[0], "volumes", kind}
	if volume, snap, ok := strings.Cut(name, "/"); ok {
		return client.Path(append(path, volume, "snapshots", snap)...)
	}
	return client.Path(append(path, name)...)
}

func volumeCommand(a *App) *cobra.Command {
	k := volumeKind(a)
	return branch("volume", "Manage storage volumes",
		volumeCreate(a), volumeDelete(a), volumeOn(a, k.edit(), ""), volumeOn(a, k.get(), "get [<remote>:]<pool> [<type>/]<volume>[/<snapshot>] <key>"),
		volumeList(a), volumeOn(a, k.set(), ""), volumeOn(a, k.show(), "show [<remote>:]<pool> [<type>/]<volume>[/<snapshot>]"), volumeOn(a, k.unset(), ""))
}

func volumeList(a *App) *cobra.Command {
	var all bool
	var columns string
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:][<pool>] [<filter>...]", aliases: []string{"ls"}, short: "List storage volumes", most: -1,
		long: `List storage volumes

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
		complete: func(args []string, prefix string) []string { return a.names("storage-pools", prefix) },
		run: func(args []string) error {
			server, pool, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			path := recursive("/1.0/storage-volumes")
			if pool != "" {
				path = recursive(client.Path("storage-pools", pool, "volumes"))
				columns = strings.Replace(columns, "p", "", 1)
			}
			if all {
				path = query(path, "all-projects", "true")
			}
			if len(args) > 1 {
				path = query(path, "filter", volumeFilter(args[1:]))
			}
			var volumes []api.StorageVolume
			if _, err := server.Get(a.ctx, path, &volumes); err != nil {
				return err
			}
			return a.printVolumes(volumes, volumeLetters(columns, all, volumes), *shape)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "Display volumes from all projects")
	cmd.Flags().StringVarP(&columns, "columns", "c", "petndcuL", "Columns``")
	shape = format(cmd)
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

func (a *App) printVolumes(volumes []api.StorageVolume, letters, shape string) error {
	cols, err := pick(letters, []column[api.StorageVolume]{
		{'p', "POOL", func(v *api.StorageVolume) string { return v.Pool }},
		{'e', "PROJECT", func(v *api.StorageVolume) string { return v.Project }},
		{'t', "TYPE", volumeType},
		{'n', "NAME", func(v *api.StorageVolume) string { return v.Name }},
		{'d', "DESCRIPTION", func(v *api.StorageVolume) string { return v.Description }},
		{'c', "CONTENT-TYPE", func(v *api.StorageVolume) string { return cmp.Or(v.ContentType, "filesystem") }},
		{'u', "USED BY", func(v *api.StorageVolume) string { return strconv.Itoa(len(v.UsedBy)) }},
		{'L', "LOCATION", func(v *api.StorageVolume) string { return v.Location }},
	})
	if err != nil {
		return err
	}
	header, rows := layOut(cols, volumes)
	return a.list(shape, header, rows, volumes)
}

func volumeType(v *api.StorageVolume) string {
	if strings.Contains(v.Name, "/") {
		return v.Type + " (snapshot)"
	}
	return v.Type
}
