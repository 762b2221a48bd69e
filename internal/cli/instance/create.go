package instance

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
	"lxd/internal/cli/image"
)

// createFlags are the flags of init and launch, and what was piped into them.
type createFlags struct {
	config, devices, profiles                        []string
	empty, ephemeral, noProfiles, vm                 bool
	network, storage, target, project, size, console string
	piped                                            []byte
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

func createCommand(a *command.App, f *createFlags, s command.Leaf, run func(args []string) error) *cobra.Command {
	s.Most = 2
	cmd := a.Leaf(s)
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

// Init creates an instance.
func Init(a *command.App) *cobra.Command {
	var f createFlags
	return createCommand(a, &f, command.Leaf{Use: "init [<remote>:]<image> [<remote>:][<name>]", Short: "Create instances from images",
		Example: "lxc init debian c1\n    Create c1 from the image debian\n\nlxc init debian c1 < config.yaml\n    Create it with the configuration in a file"},
		func(args []string) error {
			_, err := createInstance(a, args, &f, false)
			return err
		})
}

// Launch creates an instance and starts it.
func Launch(a *command.App) *cobra.Command {
	var f createFlags
	cmd := createCommand(a, &f, command.Leaf{Use: "launch [<remote>:]<image> [<remote>:][<name>]", Short: "Create and start instances from images",
		Example: "lxc launch debian c1\n    Create c1 from the image debian and start it\n\nlxc launch debian v1 --vm -c limits.cpu=2 -c limits.memory=4GiB\n    Do so with a virtual machine, two CPUs and 4GiB of memory"},
		func(args []string) error {
			if err := checkConsole(f.console); err != nil {
				return err
			}
			c, err := createInstance(a, args, &f, true)
			if err != nil {
				return err
			}
			a.Say("Starting %s", c.name)
			if !c.started {
				err = startCreated(a, c)
			}
			if err != nil || f.console == "" {
				return err
			}
			return attachTo(a, c.server, c.name, f.console)
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

func startCreated(a *command.App, c *created) error {
	body := api.InstanceStatePut{Action: "start", Timeout: -1}
	accepted := false
	_, err := a.Follow(c.server, "", func() (*client.Operation, error) {
		op, err := c.server.Send(a.Ctx, http.MethodPut, client.Path("instances", c.name, "state"), body, "")
		accepted = err == nil
		return op, err
	})
	if err != nil && accepted {
		return fmt.Errorf("%w\nTry `lxc info --show-log %s` for more info", err, c.name)
	}
	return err
}

// createInstance makes the instance that args and flags describe, and starts it in the same request where the server can.
func createInstance(a *command.App, args []string, f *createFlags, start bool) (*created, error) {
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
	server, name, err := a.Parse(where)
	if err != nil {
		return nil, err
	}
	if f.project != "" {
		server = server.InProject(f.project)
	}
	server = server.OnTarget(f.target)
	f.piped, err = a.ReadIn()
	if err != nil {
		return nil, err
	}
	if name == "" {
		a.Say("Creating the instance")
	} else {
		a.Say("Creating %s", name)
	}
	body, err := createBody(a, server, image, f)
	if err != nil {
		return nil, err
	}
	body.Name = name
	if start {
		info, err := server.Server(a.Ctx)
		if err != nil {
			return nil, err
		}
		body.Start = command.HasExtension(info, "instance_create_start")
	}
	return submit(a, server, body)
}

// submit sends the request and learns the name that the server chose.
func submit(a *command.App, server *client.Client, body *api.InstancesPost) (*created, error) {
	op, err := a.Follow(server, "Retrieving image: ", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, "/1.0/instances", body, "")
	})
	if err != nil {
		return nil, err
	}
	out := &created{server: server.OnTarget(""), name: body.Name, started: body.Start}
	if out.name == "" && op != nil {
		if out.name = client.Base(op.EntityURL("instance")); out.name == "" {
			return nil, command.Unexpected("the name of the new instance")
		}
		a.Say("Instance name is: %s", out.name)
	}
	warnNoNetwork(a, out)
	return out, nil
}

// warnNoNetwork tells newcomers why their instance will reach nothing.
func warnNoNetwork(a *command.App, c *created) {
	var inst api.Instance
	if _, err := c.server.Get(a.Ctx, client.Path("instances", c.name), &inst); err != nil {
		return // the instance was made; not being able to look at it is no failure
	}
	for _, d := range inst.ExpandedDevices {
		if d["type"] == "nic" {
			return
		}
	}
	if !a.Flags.Quiet {
		fmt.Fprint(a.Err, "The instance you are starting doesn't have any network attached to it.\n"+
			"  To create a new network, use: lxc network create\n"+
			"  To attach a network to an instance, use: lxc network attach\n\n")
	}
}

func createBody(a *command.App, server *client.Client, image string, f *createFlags) (*api.InstancesPost, error) {
	body := &api.InstancesPost{InstanceType: f.size}
	if err := yaml.Unmarshal(f.piped, &body.InstancePut); err != nil {
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
	config, err := command.KeyValues(f.config)
	if err != nil {
		return nil, err
	}
	if body.Config == nil {
		body.Config = map[string]string{}
	}
	maps.Copy(body.Config, config)
	if err := createDevices(a, server, body, f); err != nil {
		return nil, err
	}
	body.Source.Type = api.SourceTypeNone
	if !f.empty {
		err = imageSource(a, server, image, body)
	}
	return body, err
}

// createDevices adds what -s, -n and -d ask for.
func createDevices(a *command.App, server *client.Client, body *api.InstancesPost, f *createFlags) error {
	if body.Devices == nil {
		body.Devices = map[string]map[string]string{}
	}
	if f.storage != "" {
		var pool api.StoragePool
		if _, err := server.OnTarget("").Get(a.Ctx, client.Path("storage-pools", f.storage), &pool); err != nil {
			return fmt.Errorf("Failed loading storage pool %q: %w", f.storage, err)
		}
		body.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": f.storage}
	}
	if f.network != "" {
		var n api.Network
		if _, err := server.OnTarget("").Get(a.Ctx, client.Path("networks", f.network), &n); err != nil {
			return fmt.Errorf("Failed loading network %q: %w", f.network, err)
		}
		body.Devices["eth0"] = device.NICFor(&n, "eth0")
	}
	return overrideDevices(a, server, body, f.devices)
}

// overrideDevices applies texts of the form device,key=value on top of what the profiles say of the device.
func overrideDevices(a *command.App, server *client.Client, body *api.InstancesPost, overrides []string) error {
	var inherited map[string]map[string]string
	for _, text := range overrides {
		parts := strings.Split(text, ",")
		if len(parts) < 2 {
			return fmt.Errorf("Bad device override syntax, expecting <device>,<key>=<value>: %s", text)
		}
		changes, err := command.KeyValues(parts[1:])
		if err != nil {
			return err
		}
		if inherited == nil {
			if inherited, err = inheritedDevices(a, server, body.Profiles); err != nil {
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

// inheritedDevices are the devices that profiles give an instance; nil means the default profile.
func inheritedDevices(a *command.App, server *client.Client, profiles []string) (map[string]map[string]string, error) {
	if profiles == nil {
		profiles = []string{"default"}
	}
	out := map[string]map[string]string{}
	for _, name := range profiles {
		var p api.Profile
		if _, err := server.OnTarget("").Get(a.Ctx, client.Path("profiles", name), &p); err != nil {
			return nil, fmt.Errorf("Failed loading profile %q for device override: %w", name, err)
		}
		maps.Copy(out, p.Devices)
	}
	return out, nil
}

// imageSource says which image the instance is made from.
func imageSource(a *command.App, server *client.Client, arg string, body *api.InstancesPost) error {
	store, name, err := image.Open(a, arg)
	if err != nil {
		return err
	}
	body.Source.Type = api.SourceTypeImage
	if !store.Same(server) {
		return store.Offer(server, name, body)
	}
	fingerprint, kind, err := image.Resolve(a, server.OnTarget(""), name)
	if err != nil {
		return err
	}
	body.Source.Fingerprint = fingerprint
	if body.Type == "" {
		body.Type = api.InstanceType(kind)
	}
	return nil
}
