// Package profile is the branch "lxc profile".
package profile

import (
	"fmt"
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

// Command is the branch "lxc profile".
func Command(a *command.App) *cobra.Command {
	k := device.ProfileKind(a)
	return command.Branch("profile", "Manage profiles",
		profileAdd(a), profileAssign(a), profileCopy(a), profileCreate(k), k.Delete("Delete profiles", "Profile %s deleted"),
		device.ProfileSet(a).Command(), k.Edit(), k.Get(), profileList(k), profileRemove(a),
		k.Rename("Rename profiles", "Profile %s renamed to %s"), k.Set(), k.Show(), k.Unset())
}

func profileCreate(k *command.Kind[api.Profile, api.ProfilePut]) *cobra.Command {
	return k.Create(command.Creation[api.ProfilePut]{Short: "Create profiles", Piped: true, Title: "Profile",
		Example: "lxc profile create p1\n\nlxc profile create p1 < config.yaml\n    Create a profile with the configuration in a file",
		Body: func(name string, _ []string, config api.ProfilePut) (any, error) {
			return api.ProfilesPost{Name: name, ProfilePut: config}, nil
		}})
}

func profileList(k *command.Kind[api.Profile, api.ProfilePut]) *cobra.Command {
	return k.List(command.Listing[api.Profile]{Short: "List profiles", Long: "List profiles\n\nColumns:\n  n - Name\n  d - Description\n  u - Used by",
		Letters: "ndu", Choose: true, AllProjects: "Display profiles from all projects",
		Columns: []command.Column[api.Profile]{
			command.Col('e', "PROJECT", func(p *api.Profile) string { return p.Project }),
			command.Col('n', "NAME", func(p *api.Profile) string { return p.Name }),
			command.Col('d', "DESCRIPTION", func(p *api.Profile) string { return p.Description }),
			command.Col('u', "USED BY", func(p *api.Profile) string { return strconv.Itoa(len(p.UsedBy)) }),
		}})
}

// profileChange makes a command that changes the list of profiles of an instance.
func profileChange(a *command.App, s command.Leaf, change func(profiles []string, args []string) ([]string, string, error)) *cobra.Command {
	s.Least, s.Most = 2, 2
	s.Run = func(args []string) error {
		server, name, err := a.Parse(args[0])
		if err != nil {
			return err
		}
		var inst api.Instance
		etag, err := server.Get(a.Ctx, client.Path("instances", name), &inst)
		if err != nil {
			return err
		}
		body := inst.Writable()
		profiles, done, err := change(body.Profiles, args)
		if err != nil {
			return err
		}
		body.Profiles = profiles
		if err := server.Apply(a.Ctx, http.MethodPut, client.Path("instances", name), body, etag); err != nil {
			return err
		}
		a.Say(done, name)
		return nil
	}
	return a.Leaf(s)
}

func profileAdd(a *command.App) *cobra.Command {
	return profileChange(a, command.Leaf{Use: "add [<remote>:]<instance> <profile>", Short: "Add profiles to instances"},
		func(profiles, args []string) ([]string, string, error) {
			return append(profiles, args[1]), "Profile " + args[1] + " added to %s", nil
		})
}

func profileRemove(a *command.App) *cobra.Command {
	return profileChange(a, command.Leaf{Use: "remove [<remote>:]<instance> <profile>", Short: "Remove profiles from instances"},
		func(profiles, args []string) ([]string, string, error) {
			i := slices.Index(profiles, args[1])
			if i < 0 {
				return nil, "", fmt.Errorf("Profile %s isn't currently applied to %s", args[1], args[0])
			}
			return slices.Delete(profiles, i, i+1), "Profile " + args[1] + " removed from %s", nil
		})
}

func profileAssign(a *command.App) *cobra.Command {
	return profileChange(a, command.Leaf{Use: "assign [<remote>:]<instance> <profiles>", Aliases: []string{"apply"}, Short: "Assign sets of profiles to instances",
		Example: "lxc profile assign foo default,bar\n    Give foo the profiles default and bar\n\nlxc profile assign foo ''\n    Take all profiles from foo"},
		func(_, args []string) ([]string, string, error) {
			if args[1] == "" {
				return []string{}, "Profiles (none) applied to %s", nil
			}
			return strings.Split(args[1], ","), "Profiles " + args[1] + " applied to %s", nil
		})
}

func profileCopy(a *command.App) *cobra.Command {
	var refresh bool
	var project string
	cmd := a.Leaf(command.Leaf{Use: "copy [<remote>:]<profile> [<remote>:]<profile>", Aliases: []string{"cp"}, Short: "Copy profiles", Least: 2, Most: 2,
		Run: func(args []string) error {
			from, source, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			to, name, err := a.Parse(args[1])
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
			if _, err := from.Get(a.Ctx, client.Path("profiles", source), &p); err != nil {
				return err
			}
			return copyProfile(a, to, api.ProfilesPost{Name: name, ProfilePut: p.Writable()}, refresh)
		}})
	cmd.Flags().BoolVar(&refresh, "refresh", false, "Update the target profile from the source if it already exists")
	cmd.Flags().StringVar(&project, "target-project", "", "Copy to a project different from the source``")
	return cmd
}

func copyProfile(a *command.App, to *client.Client, p api.ProfilesPost, refresh bool) error {
	if refresh {
		err := to.Apply(a.Ctx, http.MethodPut, client.Path("profiles", p.Name), p.ProfilePut, "")
		if !client.IsNotFound(err) {
			return err
		}
	}
	return to.Apply(a.Ctx, http.MethodPost, "/1.0/profiles", p, "")
}
