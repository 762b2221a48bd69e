package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/render"
)

var (
	errNoDevice  = errors.New("Device doesn't exist")
	errHasDevice = errors.New("The device already exists")
)

// deviceSet makes the commands for the devices of an instance or a profile.
type deviceSet[F, P any] struct {
	kind    *kind[F, P]
	owner   string
	devices func(*P) *map[string]map[string]string
	// inherited tells whether the owner has a device from elsewhere; nil when it cannot.
	inherited func(full *F, device string) bool
}

func (d deviceSet[F, P]) command(more ...*cobra.Command) *cobra.Command {
	subs := []*cobra.Command{d.add(), d.get(), d.list(), d.remove(), d.set(), d.show(), d.unset()}
	return branch("device", "Manage devices", append(subs, more...)...)
}

// leaf makes a command of s, whose use has no owner yet.
func (d deviceSet[F, P]) leaf(s spec) *cobra.Command {
	verb, rest, _ := strings.Cut(s.use, " ")
	s.use = strings.TrimSpace(verb + " " + d.kind.words + " " + rest)
	return d.kind.command(s)
}

// change lets edit work on the devices of the owner that args name.
func (d deviceSet[F, P]) change(args []string, edit func(devices map[string]map[string]string) error) error {
	return d.kind.update(args, "", func(p *P) error {
		all := d.devices(p)
		if *all == nil {
			*all = map[string]map[string]string{}
		}
		return edit(*all)
	})
}

// read returns the owner of the devices and what they are.
func (d deviceSet[F, P]) read(args []string) (*F, map[string]map[string]string, error) {
	o, err := d.kind.at(args, "")
	if err != nil {
		return nil, nil, err
	}
	var full F
	if _, err := o.read(d.kind.app.ctx, &full); err != nil {
		return nil, nil, err
	}
	p := d.kind.writable(&full)
	return &full, *d.devices(&p), nil
}

func (d deviceSet[F, P]) add() *cobra.Command {
	cmd := d.leaf(spec{use: "add <device> <type> [key=value...]", short: "Add " + d.owner + " devices", least: 3, most: -1, run: func(args []string) error {
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
				return errHasDevice
			}
			devices[name] = device
			return nil
		})
		if err == nil {
			d.kind.app.say("Device %s added to %s", name, plain(args[0]))
		}
		return err
	}})
	cmd.Example = "lxc " + d.command0() + " add " + strings.TrimPrefix(d.kind.words, "[<remote>:]") + " data disk source=/srv/data path=/data\n    Mount the host's /srv/data at /data"
	return cmd
}

// command0 is how the commands of this set are called.
func (d deviceSet[F, P]) command0() string {
	if d.owner == "profile" {
		return "profile device"
	}
	return "config device"
}

func (d deviceSet[F, P]) remove() *cobra.Command {
	return d.leaf(spec{use: "remove <name>...", aliases: []string{"rm"}, short: "Remove " + d.owner + " devices", least: 2, most: -1, run: func(args []string) error {
		err := d.change(args, func(devices map[string]map[string]string) error {
			for _, name := range args[1:] {
				if devices[name] == nil {
					return errNoDevice
				}
				delete(devices, name)
			}
			return nil
		})
		if err == nil {
			d.kind.app.say("Device %s removed from %s", strings.Join(args[1:], ", "), plain(args[0]))
		}
		return err
	}})
}

func (d deviceSet[F, P]) set() *cobra.Command {
	return d.leaf(spec{use: "set <device> <key>=<value>...", short: "Set device configuration keys", least: 3, most: -1, run: func(args []string) error {
		changes, err := d.kind.app.assignments(args[2:])
		if err != nil {
			return err
		}
		return d.setKeys(args, changes)
	}})
}

func (d deviceSet[F, P]) unset() *cobra.Command {
	return d.leaf(spec{use: "unset <device> <key>", short: "Unset device configuration keys", least: 3, most: 3, run: func(args []string) error {
		return d.setKeys(args, map[string]string{args[2]: ""})
	}})
}

func (d deviceSet[F, P]) setKeys(args []string, changes map[string]string) error {
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
func (d deviceSet[F, P]) missing(full *F, name, what string) error {
	if d.inherited != nil && d.inherited(full, name) {
		return fmt.Errorf("Device from profile(s) cannot be %s", what)
	}
	return errNoDevice
}

func (d deviceSet[F, P]) get() *cobra.Command {
	return d.leaf(spec{use: "get <device> <key>", short: "Get values for device configuration keys", least: 3, most: 3, run: func(args []string) error {
		full, devices, err := d.read(args)
		if err != nil {
			return err
		}
		device := devices[args[1]]
		if device == nil {
			return d.missing(full, args[1], "retrieved for individual instance")
		}
		d.kind.app.printf("%s\n", device[args[2]])
		return nil
	}})
}

func (d deviceSet[F, P]) list() *cobra.Command {
	return d.leaf(spec{use: "list", aliases: []string{"ls"}, short: "List " + d.owner + " devices", least: 1, most: 1, run: func(args []string) error {
		_, devices, err := d.read(args)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(devices)) {
			d.kind.app.printf("%s\n", name)
		}
		return nil
	}})
}

func (d deviceSet[F, P]) show() *cobra.Command {
	return d.leaf(spec{use: "show", short: "Show full device configuration", least: 1, most: 1, run: func(args []string) error {
		_, devices, err := d.read(args)
		if err != nil {
			return err
		}
		return render.YAML(d.kind.app.Out, devices)
	}})
}

// deviceOverride copies a device that an instance has from a profile, so that it can be changed.
func deviceOverride(a *App) *cobra.Command {
	return a.leaf(spec{use: "override [<remote>:]<instance> <device> [key=value...]", short: "Copy profile inherited devices and override configuration keys",
		least: 2, most: -1, complete: a.completeNames("instances"),
		run: func(args []string) error {
			changes, err := keyValues(args[2:])
			if err != nil {
				return err
			}
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			var inst api.Instance
			etag, err := server.Get(a.ctx, client.Path("instances", name), &inst)
			if err != nil {
				return err
			}
			if inst.Devices[args[1]] != nil {
				return errHasDevice
			}
			device := maps.Clone(inst.ExpandedDevices[args[1]])
			if device == nil {
				return errors.New("The profile device doesn't exist")
			}
			maps.Copy(device, changes)
			if inst.Devices == nil {
				inst.Devices = map[string]map[string]string{}
			}
			inst.Devices[args[1]] = device
			if err := server.Apply(a.ctx, put, client.Path("instances", name), inst.Writable(), etag); err != nil {
				return err
			}
			a.say("Device %s overridden for %s", args[1], name)
			return nil
		}})
}

// plain is the name in "[remote:]name".
func plain(arg string) string {
	return arg[strings.LastIndexByte(arg, ':')+1:]
}
