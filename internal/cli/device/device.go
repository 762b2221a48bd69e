package device

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// What can be wrong with the name of a device.
var (
	ErrNoDevice  = errors.New("Device doesn't exist")
	ErrHasDevice = errors.New("The device already exists")
)

// Set makes the commands for the devices of an instance or a profile.
type Set[F, P any] struct {
	Kind *command.Kind[F, P]
	// Owner is "instance" or "profile".
	Owner string
	// Devices finds the devices in the owner.
	Devices func(*P) *map[string]map[string]string
	// Inherited tells whether the owner has a device from elsewhere; nil when it cannot.
	Inherited func(full *F, device string) bool
}

// Command is the branch "device" of an owner, with more commands in it.
func (d Set[F, P]) Command(more ...*cobra.Command) *cobra.Command {
	subs := []*cobra.Command{d.add(), d.get(), d.list(), d.remove(), d.set(), d.show(), d.unset()}
	return command.Branch("device", "Manage devices", append(subs, more...)...)
}

// leaf makes a command of s, whose use has no owner yet.
func (d Set[F, P]) leaf(s command.Leaf) *cobra.Command {
	verb, rest, _ := strings.Cut(s.Use, " ")
	s.Use = strings.TrimSpace(verb + " " + d.Kind.Words + " " + rest)
	return d.Kind.App.Leaf(s)
}

// change lets edit work on the devices of the owner that args name.
func (d Set[F, P]) change(args []string, edit func(devices map[string]map[string]string) error) error {
	return d.Kind.Update(args, "", func(p *P) error {
		all := d.Devices(p)
		if *all == nil {
			*all = map[string]map[string]string{}
		}
		return edit(*all)
	})
}

// read returns the owner of the devices and what they are.
func (d Set[F, P]) read(args []string) (*F, map[string]map[string]string, error) {
	o, err := d.Kind.At(args, "")
	if err != nil {
		return nil, nil, err
	}
	var full F
	if _, err := o.Read(d.Kind.App.Ctx, &full); err != nil {
		return nil, nil, err
	}
	p := d.Kind.Writable(&full)
	return &full, *d.Devices(&p), nil
}

func (d Set[F, P]) add() *cobra.Command {
	cmd := d.leaf(command.Leaf{Use: "add <device> <type> [key=value...]", Short: "Add " + d.Owner + " devices", Least: 3, Most: -1, Run: func(args []string) error {
		device := map[string]string{}
		for _, arg := range args[3:] {
			key, value, ok := strings.Cut(arg, "=")
			if !ok {
				return fmt.Errorf("No value found in %q", arg)
			}
			device[key] = value
		}
		device["type"] = args[2]
		name := args[1]
		err := d.change(args, func(devices map[string]map[string]string) error {
			if devices[name] != nil {
				return ErrHasDevice
			}
			devices[name] = device
			return nil
		})
		if err == nil {
			d.Kind.App.Say("Device %s added to %s", name, command.Plain(args[0]))
		}
		return err
	}})
	cmd.Example = "lxc " + d.prefix() + " add " + strings.TrimPrefix(d.Kind.Words, "[<remote>:]") + " data disk source=/srv/data path=/data\n    Mount the host's /srv/data at /data"
	return cmd
}

// prefix is how the commands of this set are called.
func (d Set[F, P]) prefix() string {
	if d.Owner == "profile" {
		return "profile device"
	}
	return "config device"
}

func (d Set[F, P]) remove() *cobra.Command {
	return d.leaf(command.Leaf{Use: "remove <name>...", Aliases: []string{"rm"}, Short: "Remove " + d.Owner + " devices", Least: 2, Most: -1, Run: func(args []string) error {
		err := d.change(args, func(devices map[string]map[string]string) error {
			for _, name := range args[1:] {
				if devices[name] == nil {
					return ErrNoDevice
				}
				delete(devices, name)
			}
			return nil
		})
		if err == nil {
			d.Kind.App.Say("Device %s removed from %s", strings.Join(args[1:], ", "), command.Plain(args[0]))
		}
		return err
	}})
}

func (d Set[F, P]) set() *cobra.Command {
	return d.leaf(command.Leaf{Use: "set <device> <key>=<value>...", Short: "Set device configuration keys", Least: 3, Most: -1, Run: func(args []string) error {
		changes, err := d.Kind.App.Assignments(args[2:])
		if err != nil {
			return err
		}
		return d.setKeys(args, changes)
	}})
}

func (d Set[F, P]) unset() *cobra.Command {
	return d.leaf(command.Leaf{Use: "unset <device> <key>", Short: "Unset device configuration keys", Least: 3, Most: 3, Run: func(args []string) error {
		return d.setKeys(args, map[string]string{args[2]: ""})
	}})
}

func (d Set[F, P]) setKeys(args []string, changes map[string]string) error {
	full, _, err := d.read(args)
	if err != nil {
		return err
	}
	return d.change(args, func(devices map[string]map[string]string) error {
		device := devices[args[1]]
		if device == nil {
			return d.missing(full, args[1], "modified for individual instance. Override device or modify profile instead")
		}
		for key, value := range changes {
			device[key] = value
			if value == "" {
				delete(device, key)
			}
		}
		return nil
	})
}

// missing is the error for a device that the owner does not have itself.
func (d Set[F, P]) missing(full *F, name, what string) error {
	if d.Inherited != nil && d.Inherited(full, name) {
		return fmt.Errorf("Device from profile(s) cannot be %s", what)
	}
	return ErrNoDevice
}

func (d Set[F, P]) get() *cobra.Command {
	return d.leaf(command.Leaf{Use: "get <device> <key>", Short: "Get values for device configuration keys", Least: 3, Most: 3, Run: func(args []string) error {
		full, devices, err := d.read(args)
		if err != nil {
			return err
		}
		device := devices[args[1]]
		if device == nil {
			return d.missing(full, args[1], "retrieved for individual instance")
		}
		d.Kind.App.Printf("%s\n", device[args[2]])
		return nil
	}})
}

func (d Set[F, P]) list() *cobra.Command {
	return d.leaf(command.Leaf{Use: "list", Aliases: []string{"ls"}, Short: "List " + d.Owner + " devices", Least: 1, Most: 1, Run: func(args []string) error {
		_, devices, err := d.read(args)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(devices)) {
			d.Kind.App.Printf("%s\n", name)
		}
		return nil
	}})
}

func (d Set[F, P]) show() *cobra.Command {
	return d.leaf(command.Leaf{Use: "show", Short: "Show full device configuration", Least: 1, Most: 1, Run: func(args []string) error {
		_, devices, err := d.read(args)
		if err != nil {
			return err
		}
		return render.YAML(d.Kind.App.Out, devices)
	}})
}
