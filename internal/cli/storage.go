package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/render"
)

const storageHelp = `This is the storage pool as YAML; lines that start with # are ignored.

It holds configuration keys, for example:
  config:
    rsync.bwlimit: 10MiB

Only the configuration and the description can be changed here.`

func storageCommand(a *App) *cobra.Command {
	k := &kind[api.StoragePool, api.StoragePoolPut]{
		app: a, noun: "storage pool", words: "[<remote>:]<pool>", names: 1, help: storageHelp, targeted: true, list: "storage-pools", pairs: "<key> <value>",
		path:     func(n []string) string { return client.Path("storage-pools", n[0]) },
		writable: func(p *api.StoragePool) api.StoragePoolPut { return p.Writable() },
		settings: func(p *api.StoragePoolPut) *map[string]string { return &p.Config },
	}
	return branch("storage", "Manage storage pools and volumes",
		storageCreate(a), k.delete("Delete storage pools", "Storage pool %s deleted"), k.edit(), k.get(), storageInfo(a),
		storageList(a), k.set(), storageShow(a, k), k.unset(), volumeCommand(a))
}

func storageCreate(a *App) *cobra.Command {
	var target string
	cmd := a.leaf(spec{use: "create [<remote>:]<pool> <driver> [key=value...]", short: "Create storage pools", least: 2, most: -1,
		example: "lxc storage create s1 dir\n    Keep volumes in plain directories\n\nlxc storage create s2 btrfs source=/dev/sdb",
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			config, err := keyValues(args[2:])
			if err != nil {
				return err
			}
			body := api.StoragePoolsPost{Name: name, Driver: args[1]}
			body.Config = config
			if err := server.OnTarget(target).Apply(a.ctx, post, "/1.0/storage-pools", body, ""); err != nil {
				return err
			}
			if target != "" {
				a.say("Storage pool %s pending on member %s", name, target)
				return nil
			}
			a.say("Storage pool %s created", name)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

func storageList(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:]", aliases: []string{"ls"}, short: "List available storage pools", most: 1,
		run: func(args []string) error {
			server, _, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			var pools []api.StoragePool
			if _, err := server.Get(a.ctx, recursive("/1.0/storage-pools"), &pools); err != nil {
				return err
			}
			letters := "nDSdus"
			if slices.ContainsFunc(pools, func(p api.StoragePool) bool {
				return len(p.Locations) > 0 && p.Locations[0] != "none" && p.Locations[0] != ""
			}) {
				letters = "nDdus" // the source differs from member to member
			}
			cols, err := pick(letters, []column[api.StoragePool]{
				{'n', "NAME", func(p *api.StoragePool) string { return p.Name }},
				{'D', "DRIVER", func(p *api.StoragePool) string { return p.Driver }},
				{'S', "SOURCE", func(p *api.StoragePool) string { return p.Config["source"] }},
				{'d', "DESCRIPTION", func(p *api.StoragePool) string { return p.Description }},
				{'u', "USED BY", func(p *api.StoragePool) string { return strconv.Itoa(len(p.UsedBy)) }},
				{'s', "STATE", func(p *api.StoragePool) string { return strings.ToUpper(p.Status) }},
			})
			if err != nil {
				return err
			}
			header, rows := layOut(cols, pools)
			return a.list(*shape, header, rows, pools)
		}})
	shape = format(cmd)
	return cmd
}

func storageShow(a *App, k *kind[api.StoragePool, api.StoragePoolPut]) *cobra.Command {
	cmd := k.show()
	resources := cmd.Flags().Bool("resources", false, "Show the resources available to the storage pool")
	plainShow := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*resources || len(args) != 1 {
			return plainShow(cmd, args)
		}
		o, err := k.at(args, cmd.Flag("target").Value.String())
		if err != nil {
			return err
		}
		var res api.ResourcesStoragePool
		if _, err := o.server.Get(a.ctx, o.path+"/resources", &res); err != nil {
			return err
		}
		return render.YAML(a.Out, res)
	}
	return cmd
}

func storageInfo(a *App) *cobra.Command {
	var target string
	var exact bool
	cmd := a.leaf(spec{use: "info [<remote>:]<pool>", short: "Show useful information about storage pools", least: 1, most: 1,
		complete: a.completeNames("storage-pools"),
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			server = server.OnTarget(target)
			path := client.Path("storage-pools", name)
			var pool api.StoragePool
			if _, err := server.Get(a.ctx, path, &pool); err != nil {
				return err
			}
			var res api.ResourcesStoragePool
			if _, err := server.Get(a.ctx, path+"/resources", &res); err != nil {
				return err
			}
			size := func(n int64) string {
				if exact {
					return strconv.FormatInt(n, 10)
				}
				return render.Size(n, 2)
			}
			info := map[string]string{"name": pool.Name, "driver": pool.Driver, "description": pool.Description,
				"total space": size(res.Space.Total), "space used": size(res.Space.Used)}
			return render.YAML(a.Out, map[string]any{"info": info, "used by": usersByKind(pool.UsedBy)})
		}})
	cmd.Flags().BoolVar(&exact, "bytes", false, "Show the used and free space in bytes")
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

// usersByKind groups URLs by what they point at.
func usersByKind(urls []string) map[string][]string {
	out := map[string][]string{}
	for _, u := range slices.Sorted(slices.Values(urls)) {
		path, params, _ := strings.Cut(strings.TrimPrefix(u, "/1.0/"), "?")
		kind, _, _ := strings.Cut(path, "/")
		name := client.Base(u)
		switch kind {
		case "storage-pools":
			kind = "volumes"
		}
		if inst, snap, ok := strings.Cut(strings.TrimPrefix(path, kind+"/"), "/snapshots/"); ok {
			name = client.Base(inst) + "/" + snap
		}
		if _, project, ok := strings.Cut("&"+params, "&project="); ok {
			project, _, _ = strings.Cut(project, "&")
			name += fmt.Sprintf(" (project %q)", project)
		}
		out[kind] = append(out[kind], name)
	}
	return out
}

func volumeKind(a *App) *kind[api.StorageVolume, api.StorageVolumePut] {
	return &kind[api.StorageVolume, api.StorageVolumePut]{
		app: a, noun: "storage volume", words: "[<remote>:]<pool> [<type>/]<volume>", names: 2, targeted: true,
		path:     volumePath,
		writable: func(v *api.StorageVolume) api.StorageVolumePut { return v.Writable() },
		settings: func(p *api.StorageVolumePut) *map[string]string { return &p.Config },
	}
}

func volumeShow(a *App) *cobra.Command {
	cmd := volumeKind(a).show()
	cmd.Use = "show [<remote>:]<pool> [<type>/]<volume>[/<snapshot>]"
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return a.volumes(args, prefix), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
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
	return branch("volume", "Manage storage volumes", volumeList(a), volumeShow(a))
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
