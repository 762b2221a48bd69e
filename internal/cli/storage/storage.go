// Package storage is the branch "lxc storage".
package storage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

const storageHelp = `This is the storage pool as YAML; lines that start with # are ignored.

It holds configuration keys, for example:
  config:
    rsync.bwlimit: 10MiB

Only the configuration and the description can be changed here.`

// Command is the branch "lxc storage".
func Command(a *command.App) *cobra.Command {
	k := &command.Kind[api.StoragePool, api.StoragePoolPut]{
		App: a, Noun: "storage pool", Branch: "storage", Words: "[<remote>:]<pool>", Names: 1, Help: storageHelp, Targeted: true, Pairs: "<key> <value>",
		Path:     func(n []string) string { return client.Path("storage-pools", n[0]) },
		Writable: func(p *api.StoragePool) api.StoragePoolPut { return p.Writable() },
		Settings: func(p *api.StoragePoolPut) *map[string]string { return &p.Config },
	}
	return command.Branch("storage", "Manage storage pools and volumes",
		storageCreate(k), k.Delete("Delete storage pools", "Storage pool %s deleted"), k.Edit(), k.Get(), storageInfo(a),
		storageList(k), k.Set(), storageShow(a, k), k.Unset(), volumeCommand(a))
}

func storageCreate(k *command.Kind[api.StoragePool, api.StoragePoolPut]) *cobra.Command {
	return k.Create(command.Creation[api.StoragePoolPut]{Short: "Create storage pools", Words: "<driver>", Extra: 1, Pairs: true, Title: "Storage pool",
		Example: "lxc storage create s1 dir\n    Keep volumes in plain directories\n\nlxc storage create s2 btrfs source=/dev/sdb",
		Body: func(name string, extra []string, config api.StoragePoolPut) (any, error) {
			return api.StoragePoolsPost{Name: name, Driver: extra[0], StoragePoolPut: config}, nil
		}})
}

func storageList(k *command.Kind[api.StoragePool, api.StoragePoolPut]) *cobra.Command {
	return k.List(command.Listing[api.StoragePool]{Short: "List available storage pools", Letters: "nDSdus",
		Adapt: func(letters string, pools []api.StoragePool) string {
			if command.Clustered(pools, func(p *api.StoragePool) string { return strings.Join(p.Locations[:min(1, len(p.Locations))], "") }) {
				return "nDdus" // the source differs from member to member
			}
			return letters
		},
		Columns: []command.Column[api.StoragePool]{
			command.Col('n', "NAME", func(p *api.StoragePool) string { return p.Name }),
			command.Col('D', "DRIVER", func(p *api.StoragePool) string { return p.Driver }),
			command.Col('S', "SOURCE", func(p *api.StoragePool) string { return p.Config["source"] }),
			command.Col('d', "DESCRIPTION", func(p *api.StoragePool) string { return p.Description }),
			command.Col('u', "USED BY", func(p *api.StoragePool) string { return strconv.Itoa(len(p.UsedBy)) }),
			command.Col('s', "STATE", func(p *api.StoragePool) string { return strings.ToUpper(p.Status) }),
		}})
}

func storageShow(a *command.App, k *command.Kind[api.StoragePool, api.StoragePoolPut]) *cobra.Command {
	cmd := k.Show()
	resources := cmd.Flags().Bool("resources", false, "Show the resources available to the storage pool")
	plainShow := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*resources || len(args) != 1 {
			return plainShow(cmd, args)
		}
		o, err := k.At(args, cmd.Flag("target").Value.String())
		if err != nil {
			return err
		}
		var res api.ResourcesStoragePool
		if _, err := o.Server.Get(a.Ctx, o.Path+"/resources", &res); err != nil {
			return err
		}
		return render.YAML(a.Out, res)
	}
	return cmd
}

func storageInfo(a *command.App) *cobra.Command {
	var target string
	var exact bool
	cmd := a.Leaf(command.Leaf{Use: "info [<remote>:]<pool>", Short: "Show useful information about storage pools", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			server = server.OnTarget(target)
			path := client.Path("storage-pools", name)
			var pool api.StoragePool
			if _, err := server.Get(a.Ctx, path, &pool); err != nil {
				return err
			}
			var res api.ResourcesStoragePool
			if _, err := server.Get(a.Ctx, path+"/resources", &res); err != nil {
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
