package cli

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/client"
)

// createFlags are the flags of init and launch.
type createFlags struct {
	config, devices, profiles                        []string
	empty, ephemeral, noProfiles, vm                 bool
	network, storage, target, project, size, console string
}

func (f *createFlags) declare(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringArrayVarP(&f.config, "config", "c", nil, "Config key/value to apply to the new instance``")
	s.StringArrayVarP(&f.devices, "device", "d", nil, "New key/value to apply to a specific device``")
	s.BoolVar(&f.empty, "empty", false, "Create an empty instance")
	s.BoolVarP(&f.ephemeral, "ephemeral", "e", false, "Ephemeral instance")
	s.StringVarP(&f.network, "network", "n", "", "Network name``")
	s.BoolVar(&f.noProfiles, "no-profiles", false, "Create the instance with no profiles applied")
	s.StringArrayVarP(&f.profiles, "profile", "p", nil, "Profile to apply to the new instance``")
	s.StringVarP(&f.storage, "storage", "s", "", "Storage pool name``")
	s.StringVar(&f.target, "target", "", "Cluster member name``")
	s.StringVar(&f.project, "target-project", "", "Create the instance in another project``")
	s.StringVarP(&f.size, "type", "t", "", "Instance type``")
	s.BoolVar(&f.vm, "vm", false, "Create a virtual machine")
}

func createCommand(a *App, f *createFlags, s spec, run func(args []string) error) *cobra.Command {
	s.most, s.complete = 2, a.completeNames("images/aliases", "none")
	cmd := a.leaf(s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !f.empty {
			return cmd.Usage()
		}
		if len(args) > 2 {
			_ = cmd.Help() // the error below says what is wrong
			return errors.New("Invalid number of arguments")
		}
		return run(args)
	}
	f.declare(cmd)
	return cmd
}

func initCommand(a *App) *cobra.Command {
	var f createFlags
	return createCommand(a, &f, spec{use: "init [<remote>:]<image> [<remote>:][<name>]", short: "Create instances from images",
		example: "lxc init debian c1\n    Create c1 from the image debian\n\nlxc init debian c1 < config.yaml\n    Create it with the configuration in a file"},
		func(args []string) error {
			_, err := a.create(args, &f, false)
			return err
		})
}

func launchCommand(a *App) *cobra.Command {
	var f createFlags
	cmd := createCommand(a, &f, spec{use: "launch [<remote>:]<image> [<remote>:][<name>]", short: "Create and start instances from images",
		example: "lxc launch debian c1\n    Create c1 from the image debian and start it\n\nlxc launch debian v1 --vm -c limits.cpu=2 -c limits.memory=4GiB\n    Do so with a virtual machine, two CPUs and 4GiB of memory"},
		func(args []string) error {
			if err := checkConsole(f.console); err != nil {
				return err
			}
			c, err := a.create(args, &f, true)
			if err != nil {
				return err
			}
			a.say("Starting %s", c.name)
			if !c.started {
				err = a.startCreated(c)
			}
			if err != nil || f.console == "" {
				return err
			}
			return a.attachTo(c.server, c.name, f.console)
		})
	cmd.Flags().StringVar(&f.console, "console", "", "Immediately attach to the console``")
	cmd.Flag("console").NoOptDefVal = "console"
	return cmd
}

// created is an instance that has just been made.
type created struct {
	server  *client.Client
	name    string
	started bool
}

func (a *App) startCreated(c *created) error {
	body := api.InstanceStatePut{Action: "start", Timeout: -1}
	accepted := false
	_, err := a.follow(c.server, "", func() (*client.Operation, error) {
		op, err := c.server.Send(a.ctx, put, client.Path("instances", c.name, "state"), body, "")
		accepted = err == nil
		return op, err
	})
	if err != nil && accepted {
		return fmt.Errorf("%w\nTry `lxc info --show-log %s` for more info", err, c.name)
	}
	return err
}

// create makes the instance that args and flags describe, and starts it in the same request where the server can.
func (a *App) create(args []string, f *createFlags, start bool) (*created, error) {
	image, where := "", ""
	if f.empty {
		args = append([]string{""}, args...)
	}
	image = args[0]
	if len(args) > 1 {
		where = args[1]
	}
	if f.empty && len(args) > 2 {
		return nil, errors.New("--empty cannot be combined with an image name")
	}
	if !f.empty && len(args) == 1 && strings.Contains(image, ":") {
		where = "" // the instance goes to the default remote, wherever its image is
	}
	server, name, err := a.parse(where)
	if err != nil {
		return nil, err
	}
	if f.project != "" {
		server = server.InProject(f.project)
	}
	server = server.OnTarget(f.target)
	piped, err := a.readIn()
	if err != nil {
		return nil, err
	}
	if name == "" {
		a.say("Creating the instance")
	} else {
		a.say("Creating %s", name)
	}
	body, err := a.createBody(server, image, f, piped)
	if err != nil {
		return nil, err
	}
	body.Name = name
	if start {
		info, err := server.Server(a.ctx)
		if err != nil {
			return nil, err
		}
		body.Start = hasExtension(info, "instance_create_start")
	}
	return a.submit(server, body)
}

// submit sends the request and learns the name that the server chose.
func (a *App) submit(server *client.Client, body *api.InstancesPost) (*created, error) {
	op, err := a.follow(server, "Retrieving image: ", func() (*client.Operation, error) {
		return server.Send(a.ctx, post, "/1.0/instances", body, "")
	})
	if err != nil {
		return nil, err
	}
	out := &created{server: server.OnTarget(""), name: body.Name, started: body.Start}
	if out.name == "" && op != nil {
		if out.name = client.Base(op.EntityURL("instance")); out.name == "" {
			return nil, unexpected("the name of the new instance")
		}
		a.say("Instance name is: %s", out.name)
	}
	a.warnNoNetwork(out)
	return out, nil
}

// warnNoNetwork tells newcomers why their instance will reach nothing.
func (a *App) warnNoNetwork(c *created) {
	var inst api.Instance
	if _, err := c.server.Get(a.ctx, client.Path("instances", c.name), &inst); err != nil {
		return // the instance was made; not being able to look at it is no failure
	}
	for _, d := range inst.ExpandedDevices {
		if d["type"] == "nic" {
			return
		}
	}
	if !a.flags.quiet {
		fmt.Fprint(a.Err, "The instance you are starting doesn't have any network attached to it.\n"+
			"  To create a new network, use: lxc network create\n"+
			"  To attach a network to an instance, use: lxc network attach\n\n")
	}
}

func (a *App) createBody(server *client.Client, image string, f *createFlags, piped []byte) (*api.InstancesPost, error) {
	body := &api.InstancesPost{InstanceType: f.size}
	if err := yaml.Unmarshal(piped, &body.InstancePut); err != nil {
		return nil, fmt.Errorf("reading the configuration from standard input: %w", err)
	}
	if f.vm {
		body.Type = api.InstanceTypeVirtualMachine
	}
	body.Ephemeral = body.Ephemeral || f.ephemeral
	switch {
	case f.noProfiles:
		body.Profiles = []string{}
	case len(f.profiles) > 0:
		body.Profiles = f.profiles
	}
	config, err := keyValues(f.config)
	if err != nil {
		return nil, err
	}
	if body.Config == nil {
		body.Config = map[string]string{}
	}
	maps.Copy(body.Config, config)
	if err := a.createDevices(server, body, f); err != nil {
		return nil, err
	}
	body.Source.Type = api.SourceTypeNone
	if !f.empty {
		err = a.imageSource(server, image, body)
	}
	return body, err
}

// createDevices adds what -s, -n and -d ask for.
func (a *App) createDevices(server *client.Client, body *api.InstancesPost, f *createFlags) error {
	if body.Devices == nil {
		body.Devices = map[string]map[string]string{}
	}
	if f.storage != "" {
		var pool api.StoragePool
		if _, err := server.OnTarget("").Get(a.ctx, client.Path("storage-pools", f.storage), &pool); err != nil {
			return fmt.Errorf("Failed loading storage pool %q: %w", f.storage, err)
		}
		body.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": f.storage}
	}
	if f.network != "" {
		var n api.Network
		if _, err := server.OnTarget("").Get(a.ctx, client.Path("networks", f.network), &n); err != nil {
			return fmt.Errorf("Failed loading network %q: %w", f.network, err)
		}
		body.Devices["eth0"] = nicFor(&n, "eth0")
	}
	return a.overrideDevices(server, body, f.devices)
}

// overrideDevices applies texts of the form device,key=value on top of what the profiles say of the device.
func (a *App) overrideDevices(server *client.Client, body *api.InstancesPost, overrides []string) error {
	var inherited map[string]map[string]string
	for _, text := range overrides {
		parts := strings.Split(text, ",")
		if len(parts) < 2 {
			return fmt.Errorf("Bad device override syntax, expecting <device>,<key>=<value>: %s", text)
		}
		changes, err := keyValues(parts[1:])
		if err != nil {
			return err
		}
		if inherited == nil {
			if inherited, err = a.profileDevices(server, body.Profiles); err != nil {
				return err
			}
		}
		device := body.Devices[parts[0]]
		if device == nil {
			device = maps.Clone(inherited[parts[0]])
		}
		if device == nil {
			device = map[string]string{}
		}
		maps.Copy(device, changes)
		body.Devices[parts[0]] = device
	}
	return nil
}

// profileDevices are the devices that profiles give an instance; nil means the default profile.
func (a *App) profileDevices(server *client.Client, profiles []string) (map[string]map[string]string, error) {
	if profiles == nil {
		profiles = []string{"default"}
	}
	out := map[string]map[string]string{}
	for _, name := range profiles {
		var p api.Profile
		if _, err := server.OnTarget("").Get(a.ctx, client.Path("profiles", name), &p); err != nil {
			return nil, fmt.Errorf("Failed loading profile %q for device override: %w", name, err)
		}
		maps.Copy(out, p.Devices)
	}
	return out, nil
}

// imageSource says which image the instance is made from.
func (a *App) imageSource(server *client.Client, arg string, body *api.InstancesPost) error {
	from, name, err := a.parse(arg)
	if err != nil {
		return err
	}
	if from.InProject("").URL("") != server.InProject("").OnTarget("").URL("") {
		return fmt.Errorf("Image %q is on another server: copying images between servers is not supported yet; export and import it", arg)
	}
	body.Source.Type = api.SourceTypeImage
	fingerprint, kind, err := a.resolve(server.OnTarget(""), name)
	if err != nil {
		return err
	}
	body.Source.Fingerprint = fingerprint
	if body.Type == "" {
		body.Type = api.InstanceType(kind)
	}
	return nil
}
