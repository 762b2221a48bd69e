package instance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/instance/naming"
)

// rootDevice is the name of the device that the root file system is on; "" when there is none.
func rootDevice(devices Devices) string {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if isRoot(devices[name]) {
			return name
		}
	}
	return ""
}

func isRoot(cfg map[string]string) bool {
	return cfg["type"] == "disk" && cfg["path"] == "/" && cfg["source"] == ""
}

// kind finds what implements a device. A NIC is of the kind of its "nictype", and of the first kind if it names a network.
func (s *Service) kind(cfg map[string]string) (device.Kind, error) {
	var known []string
	for _, k := range s.d.Kinds {
		if k.Type == cfg["type"] && (cfg["nictype"] == "" || cfg["nictype"] == k.Subtype) {
			return k, nil
		}
		known = append(known, strings.TrimSpace(k.Type+" "+k.Subtype))
	}
	if cfg["type"] == "" {
		return device.Kind{}, fmt.Errorf("the type is missing: one of %s is needed", strings.Join(known, ", "))
	}
	return device.Kind{}, fmt.Errorf("type %q is not supported by this server: it has %s",
		strings.TrimSpace(cfg["type"]+" "+cfg["nictype"]), strings.Join(known, ", "))
}

// checkDevices reports every device that cannot be, by type and keys alone.
func (s *Service) checkDevices(devices Devices) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if err := s.checkDevice(name, devices[name]); err != nil {
			all = append(all, fmt.Errorf("device %q: %w", name, err))
		}
	}
	return joined(all)
}

func (s *Service) checkDevice(name string, cfg map[string]string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	if cfg["type"] == "none" {
		return nil
	}
	k, err := s.kind(cfg)
	if err != nil || k.Keys == nil {
		return err
	}
	own := maps.Clone(cfg)
	delete(own, "type")
	return k.Keys.Validate(own)
}

// checkDeviceName keeps names usable as a part of keys and paths.
func checkDeviceName(name string) error {
	if name == "" || len(name) > 64 || name == "." || name == ".." {
		return errors.New("the name must have 1 to 64 characters, and more than dots")
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !naming.Allowed(r) && !strings.ContainsRune("._:", r) }); i >= 0 {
		return fmt.Errorf("%q may not be in its name: use letters, digits and . _ : -", name[i:i+1])
	}
	return nil
}

// build makes the devices of a view, in order of name, without effects.
func (s *Service) build(ctx context.Context, v view) ([]named, error) {
	var all []error
	var out []named
	for _, name := range slices.Sorted(maps.Keys(v.devices)) {
		d, err := s.buildOne(ctx, v, name, device.Env{})
		if err != nil {
			all = append(all, fmt.Errorf("device %q: %w", name, err))
			continue
		}
		out = append(out, named{name, d})
	}
	return out, joined(all)
}

// named is a device and what it is called.
type named struct {
	name string
	device.Device
}

func (s *Service) buildOne(ctx context.Context, v view, name string, env device.Env) (device.Device, error) {
	k, err := s.kind(v.devices[name])
	if err != nil {
		return nil, err
	}
	env.Project, env.Instance, env.Name, env.InstanceConfig = v.Project, v.Name, name, v.config
	return k.New(ctx, env, v.devices[name])
}

// hwaddrs makes up addresses for the NICs of a view that have none, as volatile keys.
func hwaddrs(v view) map[string]string {
	made := map[string]string{}
	for name, cfg := range v.devices {
		key := "volatile." + name + ".hwaddr"
		if cfg["type"] == "nic" && cfg["hwaddr"] == "" && v.config[key] == "" {
			made[key] = newMAC()
		}
	}
	return made
}

// newMAC makes up a MAC address with the prefix 00:16:3e, which is set aside for virtual machines.
func newMAC() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
}

// joined makes one Invalid error, on one line, of many.
func joined(all []error) error {
	var text []string
	for _, err := range all {
		if err != nil {
			text = append(text, err.Error())
		}
	}
	if len(text) == 0 {
		return nil
	}
	return errs.As(errs.Invalid, errors.New(strings.Join(text, "; ")))
}
