package cli

import (
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
			a.sayCreated("Storage pool", name, target)
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

// sayCreated tells that something was made, or that it waits for the other members when it was made on one of a cluster.
func (a *App) sayCreated(noun, name, target string) {
	if target != "" {
		a.say("%s %s pending on member %s", noun, name, target)
		return
	}
	a.say("%s %s created", noun, name)
}
