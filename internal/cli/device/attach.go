package device

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"lxd/internal/cli/command"
)

// ErrNoMatch says that no device of the owner is one of those to be detached.
var ErrNoMatch = errors.New("No device found")

// SameRemote is the second argument, on the remote of the first.
func SameRemote(args []string) string {
	return args[0][:len(args[0])-len(command.Plain(args[0]))] + args[1]
}

// Attach adds a device to the owner; it must not have another of that name.
func (d Set[F, P]) Attach(owner, name string, device map[string]string) error {
	return d.change([]string{owner}, func(devices map[string]map[string]string) error {
		if devices[name] != nil {
			return fmt.Errorf("Device already exists: %s", name)
		}
		devices[name] = device
		return nil
	})
}

// Detach removes the one device of the owner that matches; name, unless empty, says which if there are several.
func (d Set[F, P]) Detach(owner, name string, matches func(device map[string]string) bool) error {
	return d.change([]string{owner}, func(devices map[string]map[string]string) error {
		var found []string
		for _, key := range slices.Sorted(maps.Keys(devices)) {
			if matches(devices[key]) && (name == "" || key == name) {
				found = append(found, key)
			}
		}
		switch {
		case len(found) == 0 && name != "":
			return ErrNoDevice
		case len(found) == 0:
			return ErrNoMatch
		case len(found) > 1:
			return errors.New("More than one device matches, specify the device name")
		}
		delete(devices, found[0])
		return nil
	})
}
