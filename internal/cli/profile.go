package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/client"
)

const profileHelp = `This is the profile as YAML; lines that start with # are ignored.

It holds configuration keys and devices, for example:
  config:
    limits.memory: 1GiB
  devices:
    eth0:
      name: eth0
      network: lxdbr0
      type: nic

The name is shown and cannot be changed here.`

func profileKind(a *App) *kind[api.Profile, api.ProfilePut] {
	return &kind[api.Profile, api.ProfilePut]{
		app: a, noun: "profile", words: "[<remote>:]<profile>", names: 1, help: profileHelp, newline: true, list: "profiles",
		path:     func(n []string) string { return client.Path("profiles", n[0]) },
		writable: func(p *api.Profile) api.ProfilePut { return p.Writable() },
		settings: func(p *api.ProfilePut) *map[string]string { return &p.Config },
	}
}

func profileCommand(a *App) *cobra.Command {
	k := profileKind(a)
	devices := deviceSet[api.Profile, api.ProfilePut]{kind: k, owner: "profile",
		devices: profileDevices}
	return branch("profile", "Manage profiles",
		profileAdd(a), profileAssign(a), profileCopy(a), profileCreate(a), k.delete("Delete profiles", "Profile %s deleted"),
		devices.command(), k.edit(), k.get(), profileList(a), profileRemove(a),
		k.rename("Rename profiles", "Profile %s renamed to %s"), k.set(), k.show(), k.unset())
}

func profileCreate(a *App) *cobra.Command {
	return a.leaf(spec{use: "create [<remote>:]<profile>", short: "Create profiles", least: 1, most: 1,
		example: "lxc profile create p1\n\nlxc profile create p1 < config.yaml\n    Create a profile with the configuration in a file",
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			var body api.ProfilesPost
			piped, err := a.readIn()
			if err != nil {
				return err
			}
			if err := yaml.Unmarshal(piped, &body.ProfilePut); err != nil {
				return err
			}
			body.Name = name
			if err := server.Apply(a.ctx, post, "/1.0/profiles", body, ""); err != nil {
				return err
			}
			a.say("Profile %s created", name)
			return nil
		}})
}

func profileList(a *App) *cobra.Command {
	var all bool
	var columns string
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:]", aliases: []string{"ls"}, short: "List profiles", most: 1,
		long: "List profiles\n\nColumns:\n  n - Name\n  d - Description\n  u - Used by",
		run: func(args []string) error {
			server, _, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			path := recursive("/1.0/profiles")
			if all {
				path = query(path, "all-projects", "true")
				columns = "e" + columns
			}
			var profiles []api.Profile
			if _, err := server.Get(a.ctx, path, &profiles); err != nil {
				return err
			}
			cols, err := pick(columns, []column[api.Profile]{
				{'e', "PROJECT", func(p *api.Profile) string { return p.Project }},
				{'n', "NAME", func(p *api.Profile) string { return p.Name }},
				{'d', "DESCRIPTION", func(p *api.Profile) string { return p.Description }},
				{'u', "USED BY", func(p *api.Profile) string { return strconv.Itoa(len(p.UsedBy)) }},
			})
			if err != nil {
				return err
			}
			header, rows := layOut(cols, profiles)
			return a.list(*shape, header, rows, profiles)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "Display profiles from all projects")
	cmd.Flags().StringVarP(&columns, "columns", "c", "ndu", "Columns``")
	shape = format(cmd)
	return cmd
}

// profileChange makes a command that changes the list of profiles of an instance.
func profileChange(a *App, s spec, change func(profiles []string, args []string) ([]string, string, error)) *cobra.Command {
	s.least, s.most, s.complete = 2, 2, a.completeNames("instances", "profiles")
	s.run = func(args []string) error {
		server, name, err := a.parse(args[0])
		if err != nil {
			return err
		}
		var inst api.Instance
		etag, err := server.Get(a.ctx, client.Path("instances", name), &inst)
		if err != nil {
			return err
		}
		body := inst.Writable()
		profiles, done, err := change(body.Profiles, args)
		if err != nil {
			return err
		}
		body.Profiles = profiles
		if err := server.Apply(a.ctx, put, client.Path("instances", name), body, etag); err != nil {
			return err
		}
		a.say(done, name)
		return nil
	}
	return a.leaf(s)
}

func profileAdd(a *App) *cobra.Command {
	return profileChange(a, spec{use: "add [<remote>:]<instance> <profile>", short: "Add profiles to instances"},
		func(profiles, args []string) ([]string, string, error) {
			return append(profiles, args[1]), "Profile " + args[1] + " added to %s", nil
		})
}

func profileRemove(a *App) *cobra.Command {
	return profileChange(a, spec{use: "remove [<remote>:]<instance> <profile>", short: "Remove profiles from instances"},
		func(profiles, args []string) ([]string, string, error) {
			i := slices.Index(profiles, args[1])
			if i < 0 {
				return nil, "", fmt.Errorf("Profile %s isn't currently applied to %s", args[1], args[0])
			}
			return slices.Delete(profiles, i, i+1), "Profile " + args[1] + " removed from %s", nil
		})
}

func profileAssign(a *App) *cobra.Command {
	return profileChange(a, spec{use: "assign [<remote>:]<instance> <profiles>", aliases: []string{"apply"}, short: "Assign sets of profiles to instances",
		example: "lxc profile assign foo default,bar\n    Give foo the profiles default and bar\n\nlxc profile assign foo ''\n    Take all profiles from foo"},
		func(_, args []string) ([]string, string, error) {
			if args[1] == "" {
				return []string{}, "Profiles (none) applied to %s", nil
			}
			return strings.Split(args[1], ","), "Profiles " + args[1] + " applied to %s", nil
		})
}

func profileCopy(a *App) *cobra.Command {
	var refresh bool
	var project string
	cmd := a.leaf(spec{use: "copy [<remote>:]<profile> [<remote>:]<profile>", aliases: []string{"cp"}, short: "Copy profiles", least: 2, most: 2,
		complete: a.completeNames("profiles"),
		run: func(args []string) error {
			from, source, err := a.parse(args[0])
			if err != nil {
				return err
			}
			to, name, err := a.parse(args[1])
			if err != nil {
				return err
			}
			if project != "" {
				to = to.InProject(project)
			}
			if name == "" {
				name = source
			}
			var p api.Profile
			if _, err := from.Get(a.ctx, client.Path("profiles", source), &p); err != nil {
				return err
			}
			return copyProfile(a, to, api.ProfilesPost{Name: name, ProfilePut: p.Writable()}, refresh)
		}})
	cmd.Flags().BoolVar(&refresh, "refresh", false, "Update the target profile from the source if it already exists")
	cmd.Flags().StringVar(&project, "target-project", "", "Copy to a project different from the source``")
	return cmd
}

func copyProfile(a *App, to *client.Client, p api.ProfilesPost, refresh bool) error {
	if refresh {
		err := to.Apply(a.ctx, put, client.Path("profiles", p.Name), p.ProfilePut, "")
		if !client.IsNotFound(err) {
			return err
		}
	}
	return to.Apply(a.ctx, post, "/1.0/profiles", p, "")
}

// column is one column of a list of T, with the letter that picks it.
type column[T any] struct {
	letter rune
	title  string
	cell   func(*T) string
}

// pick finds the columns that letters name.
func pick[T any](letters string, known []column[T]) ([]column[T], error) {
	var out []column[T]
	for _, letter := range letters {
		if letter == ',' {
			continue
		}
		i := slices.IndexFunc(known, func(c column[T]) bool { return c.letter == letter })
		if i < 0 {
			return nil, unknownColumn(letter, letters)
		}
		out = append(out, known[i])
	}
	return out, nil
}

func unknownColumn(letter rune, columns string) error {
	return fmt.Errorf("Unknown column shorthand char '%c' in '%s'", letter, columns)
}

// layOut renders the cells of items.
func layOut[T any](columns []column[T], items []T) (header []string, rows [][]string) {
	for _, c := range columns {
		header = append(header, c.title)
	}
	rows = make([][]string, len(items))
	for i := range items {
		rows[i] = make([]string, len(columns))
		for n, c := range columns {
			rows[i][n] = c.cell(&items[i])
		}
	}
	return header, rows
}

// yesNo is the word for b in lists.
func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
