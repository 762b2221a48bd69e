package instance

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
)

// copyFlags are the flags of copy and move.
type copyFlags struct {
	config, devices, profiles               []string
	ephemeral, instanceOnly, noProfiles     bool
	refresh, start, stateless, inconsistent bool
	mode, storage, target, project          string
}

func (f *copyFlags) declare(cmd *cobra.Command) {
	s := cmd.Flags()
	s.BoolVar(&f.inconsistent, "allow-inconsistent", false, "Ignore copy errors for volatile files")
	s.StringArrayVarP(&f.config, "config", "c", nil, "Config key/value to apply to the new instance``")
	s.StringArrayVarP(&f.devices, "device", "d", nil, "New key/value to apply to a specific device``")
	s.BoolVar(&f.instanceOnly, "instance-only", false, "Copy the instance without its snapshots")
	s.StringVar(&f.mode, "mode", "pull", "Transfer mode. One of pull, push or relay``")
	s.BoolVar(&f.noProfiles, "no-profiles", false, "Create the instance with no profiles applied")
	s.StringArrayVarP(&f.profiles, "profile", "p", nil, "Profile to apply to the new instance``")
	s.BoolVar(&f.stateless, "stateless", false, "Copy a stateful instance stateless")
	s.StringVarP(&f.storage, "storage", "s", "", "Storage pool name``")
	s.StringVar(&f.target, "target", "", "Cluster member name``")
	s.StringVar(&f.project, "target-project", "", "Copy to a project different from the source``")
}

// Copy copies instances.
func Copy(a *command.App) *cobra.Command {
	var f copyFlags
	cmd := a.Leaf(command.Leaf{Use: "copy [<remote>:]<source>[/<snapshot>] [[<remote>:]<destination>]", Aliases: []string{"cp"}, Short: "Copy instances within or in between LXD servers",
		Least: 1, Most: 2,
		Example: "lxc copy c1 c2\n    Make c2 as a copy of c1, with its snapshots\n\nlxc copy c1/snap0 c2\n    Make c2 as c1 was at its snapshot snap0",
		Run:     func(args []string) error { return copyInstance(a, args, &f) }})
	f.declare(cmd)
	cmd.Flags().BoolVarP(&f.ephemeral, "ephemeral", "e", false, "Ephemeral instance")
	cmd.Flags().BoolVar(&f.refresh, "refresh", false, "Perform an incremental copy")
	cmd.Flags().BoolVar(&f.start, "start", false, "Start instance after copy")
	return cmd
}

func copyInstance(a *command.App, args []string, f *copyFlags) error {
	from, source, err := a.Parse(args[0])
	if err != nil {
		return err
	}
	to, name := from, ""
	if len(args) > 1 {
		if to, name, err = a.Parse(args[1]); err != nil {
			return err
		}
	}
	if source == "" {
		return errors.New("You must specify a source instance name")
	}
	var src api.Instance
	if _, err := from.Get(a.Ctx, device.InstancePath([]string{source}), &src); err != nil {
		return err
	}
	body, err := f.request(source, name, &src)
	if err != nil {
		return err
	}
	if elsewhere(from, to) {
		if strings.Contains(source, "/") {
			return errors.New("Copying a snapshot to another server is not supported yet: copy it to an instance first")
		}
		return (&transfer{a: a, f: f, from: from, to: to, source: source, src: &src}).run(body)
	}
	if f.project != "" {
		body.Source.Project = cmp.Or(from.Project(), "default")
		to = to.InProject(f.project)
	}
	if f.start {
		info, err := to.Server(a.Ctx)
		if err != nil {
			return err
		}
		body.Start = command.HasExtension(info, "instance_create_start")
	}
	return submitCopy(a, to.OnTarget(f.target), body, f.start)
}

// request is the body that asks for the copy.
func (f *copyFlags) request(source, name string, src *api.Instance) (*api.InstancesPost, error) {
	body := &api.InstancesPost{Name: name, Type: api.InstanceType(src.Type)}
	body.Ephemeral = src.Ephemeral || f.ephemeral
	body.Source = api.InstanceSource{Type: api.SourceTypeCopy, Source: source, InstanceOnly: f.instanceOnly, ContainerOnly: f.instanceOnly,
		Refresh: f.refresh, AllowInconsistent: f.inconsistent}
	switch {
	case f.noProfiles:
		body.Profiles = []string{}
	case len(f.profiles) > 0:
		body.Profiles = f.profiles
	default:
		body.Profiles = src.Profiles
	}
	var err error
	if body.Config, err = command.KeyValues(f.config); err != nil {
		return nil, err
	}
	body.Devices, err = f.changedDevices(src)
	return body, err
}

// changedDevices are the devices of the copy that differ from those of the source.
func (f *copyFlags) changedDevices(src *api.Instance) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	change := func(name string, set map[string]string) {
		if out[name] == nil {
			if out[name] = maps.Clone(src.ExpandedDevices[name]); out[name] == nil {
				out[name] = map[string]string{}
			}
		}
		maps.Copy(out[name], set)
	}
	if f.storage != "" {
		root := "root"
		for name, d := range src.ExpandedDevices {
			if d["type"] == "disk" && d["path"] == "/" {
				root = name
			}
		}
		change(root, map[string]string{"type": "disk", "path": "/", "pool": f.storage})
	}
	for _, text := range f.devices {
		device, pairs, ok := strings.Cut(text, ",")
		if !ok {
			return nil, fmt.Errorf("Bad device override syntax, expecting <device>,<key>=<value>: %s", text)
		}
		set, err := command.KeyValues(strings.Split(pairs, ","))
		if err != nil {
			return nil, err
		}
		change(device, set)
	}
	return out, nil
}

// submitCopy sends the request, and learns the name that the server chose.
func submitCopy(a *command.App, server *client.Client, body *api.InstancesPost, start bool) error {
	op, err := a.Follow(server, "Transferring instance: ", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, "/1.0/instances", body, "")
	})
	if err != nil {
		return err
	}
	name := body.Name
	if name == "" && op != nil {
		if name = client.Base(op.EntityURL("instance")); name == "" {
			return command.Unexpected("the name of the new instance")
		}
		a.Say("Instance name is: %s", name)
	}
	if !start || body.Start {
		return nil
	}
	return startCreated(a, &created{server: server.OnTarget(""), name: name})
}

// Move moves and renames instances.
func Move(a *command.App) *cobra.Command {
	var f copyFlags
	cmd := a.Leaf(command.Leaf{Use: "move [<remote>:]<instance>[/<snapshot>] [<remote>:][<instance>[/<snapshot>]]", Aliases: []string{"mv"}, Short: "Move instances within or in between LXD servers",
		Least: 1, Most: 2,
		Example: "lxc move c1 c2\n    Rename c1 to c2\n\nlxc move c1/snap0 c1/before\n    Rename a snapshot",
		Run:     func(args []string) error { return moveInstance(a, args, &f) }})
	f.declare(cmd)
	return cmd
}

func moveInstance(a *command.App, args []string, f *copyFlags) error {
	from, source, err := a.Parse(args[0])
	if err != nil {
		return err
	}
	to, name := from, source
	if len(args) > 1 {
		if to, name, err = a.Parse(args[1]); err != nil {
			return err
		}
	}
	if name == "" {
		name = source
	}
	if elsewhere(from, to) {
		return (&transfer{a: a, f: f, from: from, to: to, source: source, src: &api.Instance{}, same: true}).move(name)
	}
	stays := f.storage == "" && f.target == "" && f.project == "" && len(f.config)+len(f.devices)+len(f.profiles) == 0 && !f.noProfiles
	switch {
	case stays && len(args) == 1:
		return errors.New("Missing destination: name the new instance, or say where it goes with --storage, --target or --target-project")
	case stays:
		return renameInstance(a, from, source, name)
	}
	body := api.InstancePost{Name: name, Migration: true, InstanceOnly: f.instanceOnly, Pool: f.storage, Project: f.project, AllowInconsistent: f.inconsistent}
	if err := f.override(a, from, source, &body); err != nil {
		return err
	}
	_, err = a.Follow(from, "", func() (*client.Operation, error) {
		return from.OnTarget(f.target).Send(a.Ctx, http.MethodPost, device.InstancePath([]string{source}), body, "")
	})
	return err
}

// override fills in what the flags say of the configuration of an instance that moves.
func (f *copyFlags) override(a *command.App, server *client.Client, name string, body *api.InstancePost) (err error) {
	if len(f.config) > 0 {
		if body.Config, err = command.KeyValues(f.config); err != nil {
			return err
		}
	}
	if body.Profiles = f.profiles; f.noProfiles {
		body.Profiles = []string{}
	}
	if len(f.devices) == 0 {
		return nil
	}
	var src api.Instance
	if _, err := server.Get(a.Ctx, device.InstancePath([]string{name}), &src); err != nil {
		return err
	}
	own := *f
	own.storage = "" // the server sees to the root disk
	body.Devices, err = own.changedDevices(&src)
	return err
}
