// Package project is the branch "lxc project".
package project

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

const editHelp = `This is the project as YAML; lines that start with # are ignored.

It holds configuration keys, for example:
  config:
    features.images: "true"
    features.networks: "false"
    features.profiles: "true"
    features.storage.volumes: "true"

The name is shown and cannot be changed here.`

// kind is what projects are to the commands that all objects share.
type kind = command.Kind[api.Project, api.ProjectPut]

// Command is the branch "lxc project".
func Command(a *command.App) *cobra.Command {
	k := &kind{
		App: a, Noun: "project", Words: "[<remote>:]<project>", Names: 1, Help: editHelp,
		Path:     func(n []string) string { return client.Path("projects", n[0]) },
		Writable: func(p *api.Project) api.ProjectPut { return p.Writable() },
		Settings: func(p *api.ProjectPut) *map[string]string { return &p.Config },
	}
	return command.Branch("project", "Manage projects",
		create(k), remove(k), k.Edit(), k.Get(), info(k), list(k), rename(k), k.Set(), k.Show(), switchTo(k), k.Unset())
}

func create(k *kind) *cobra.Command {
	var config []string
	var network, pool string
	cmd := k.Create(command.Creation[api.ProjectPut]{Short: "Create projects", Piped: true, Title: "Project",
		Example: "lxc project create web\n    Create a project with images, profiles and volumes of its own\n\nlxc project create web -c features.images=false --storage default --network lxdbr0\n" +
			"    Let it use the images of the default project, and give its default profile a root disk and a NIC\n\nlxc project create web < config.yaml\n    Create a project with the configuration in a file",
		Body: func(name string, _ []string, put api.ProjectPut) (any, error) {
			pairs, err := command.KeyValues(config)
			if err != nil {
				return nil, err
			}
			if put.Config == nil {
				put.Config = map[string]string{}
			}
			for key, value := range pairs {
				put.Config[key] = value
			}
			return api.ProjectsPost{Name: name, ProjectPut: put, StoragePool: pool, Network: network}, nil
		}})
	cmd.Flags().StringArrayVarP(&config, "config", "c", nil, "Config key/value to apply to the new project``")
	cmd.Flags().StringVarP(&network, "network", "n", "", "Network to use for the default profile``")
	cmd.Flags().StringVarP(&pool, "storage", "s", "", "Storage pool to use for the default profile``")
	return cmd
}

func remove(k *kind) *cobra.Command {
	a := k.App
	var force bool
	cmd := k.App.Leaf(command.Leaf{Use: "delete [<remote>:]<project>", Aliases: []string{"rm"}, Short: "Delete projects", Least: 1, Most: 1,
		Long: "Delete projects\n\nA project has to be empty, unless everything in it is to go with --force.",
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			path, name := o.Path, client.Base(o.Path)
			if force {
				if err := confirm(a, name); err != nil {
					return err
				}
				path = command.Query(path, "force", "1")
			}
			if err := o.Server.Apply(a.Ctx, http.MethodDelete, path, nil, ""); err != nil {
				return err
			}
			a.Say("Project %s deleted", name)
			return leave(a, args[0], name)
		}})
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Delete the project and everything in it")
	return cmd
}

// confirm asks a user at a terminal whether all that is in the project may go.
func confirm(a *command.App, name string) error {
	if !a.Interactive() {
		return nil
	}
	answer, err := a.Ask(fmt.Sprintf("Remove %s and everything in it: instances, images, volumes, networks (yes/no): ", name))
	if err != nil {
		return err
	}
	if answer != "yes" && answer != "y" {
		return fmt.Errorf("Project %s was not deleted", name)
	}
	return nil
}

// leave lets the remote of arg use its default project again when the one in use is gone.
func leave(a *command.App, arg, gone string) error {
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	remote, _, err := cfg.Parse(arg)
	if err != nil || cfg.Remotes[remote].Project != gone {
		return err
	}
	return cfg.Use(remote, "")
}

func rename(k *kind) *cobra.Command {
	cmd := k.Rename("Rename projects", "Project %s renamed to %s")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := run(cmd, args); err != nil || len(args) != 2 {
			return err
		}
		cfg, err := k.App.Config()
		if err != nil {
			return err
		}
		remote, name, err := cfg.Parse(args[0])
		if err != nil || cfg.Remotes[remote].Project != name {
			return err
		}
		return cfg.Use(remote, args[1])
	}
	return cmd
}

func list(k *kind) *cobra.Command {
	feature := func(name string) func(*api.Project) string {
		return func(p *api.Project) string {
			on, _ := strconv.ParseBool(p.Config[name]) // what is unset or foreign is off
			return command.YesNo(on)
		}
	}
	current := ""
	cmd := k.List(command.Listing[api.Project]{Short: "List projects", Letters: "nipvbNzdu",
		Columns: []command.Column[api.Project]{
			command.Col('n', "NAME", func(p *api.Project) string {
				if p.Name == current {
					return p.Name + " (current)"
				}
				return p.Name
			}),
			command.Col('i', "IMAGES", feature("features.images")),
			command.Col('p', "PROFILES", feature("features.profiles")),
			command.Col('v', "STORAGE VOLUMES", feature("features.storage.volumes")),
			command.Col('b', "STORAGE BUCKETS", feature("features.storage.buckets")),
			command.Col('N', "NETWORKS", feature("features.networks")),
			command.Col('z', "NETWORK ZONES", feature("features.networks.zones")),
			command.Col('d', "DESCRIPTION", func(p *api.Project) string { return p.Description }),
			command.Col('u', "USED BY", func(p *api.Project) string { return strconv.Itoa(len(p.UsedBy)) }),
		}})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		server, _, err := k.App.RemoteArg(args, 0)
		if err != nil {
			return err
		}
		if current = server.Project(); current == "" {
			current = "default"
		}
		return run(cmd, args)
	}
	return cmd
}

func switchTo(k *kind) *cobra.Command {
	a := k.App
	return k.App.Leaf(command.Leaf{Use: "switch [<remote>:]<project>", Short: "Switch the current project", Least: 1, Most: 1,
		Long: "Switch the current project\n\nAll commands on that remote use the project then, unless they say otherwise with --project.",
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			var p api.Project
			if _, err := o.Read(a.Ctx, &p); err != nil {
				return err
			}
			cfg, err := a.Config()
			if err != nil {
				return err
			}
			remote, name, err := cfg.Parse(args[0])
			if err != nil {
				return err
			}
			return cfg.Use(remote, name)
		}})
}

func info(k *kind) *cobra.Command {
	a := k.App
	var shape *string
	cmd := k.App.Leaf(command.Leaf{Use: "info [<remote>:]<project>", Short: "Get a summary of resource allocations", Least: 1, Most: 1,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			var state api.ProjectState
			if _, err := o.Server.Get(a.Ctx, o.Path+"/state", &state); err != nil {
				return err
			}
			rows := [][]string{}
			for name, r := range state.Resources {
				limit := "UNLIMITED"
				if r.Limit >= 0 {
					limit = amount(name, r.Limit)
				}
				rows = append(rows, []string{strings.ToUpper(name), limit, amount(name, r.Usage)})
			}
			return a.List(*shape, []string{"RESOURCE", "LIMIT", "USAGE"}, rows, state)
		}})
	shape = command.Format(cmd)
	return cmd
}

// amount is n in the unit of a resource: bytes for what is stored, a number for what is counted.
func amount(resource string, n int64) string {
	kind, _, _ := strings.Cut(resource, ".")
	if kind == "disk" || kind == "memory" {
		return render.Size(n, 2)
	}
	return strconv.FormatInt(n, 10)
}
