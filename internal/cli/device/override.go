package device

import (
	"errors"
	"maps"
	"net/http"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// Override copies a device that an instance has from a profile, so that it can be changed.
func Override(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "override [<remote>:]<instance> <device> [key=value...]", Short: "Copy profile inherited devices and override configuration keys",
		Least: 2, Most: -1,
		Run: func(args []string) error {
			changes, err := command.KeyValues(args[2:])
			if err != nil {
				return err
			}
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			var inst api.Instance
			etag, err := server.Get(a.Ctx, client.Path("instances", name), &inst)
			if err != nil {
				return err
			}
			if inst.Devices[args[1]] != nil {
				return ErrHasDevice
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
			if err := server.Apply(a.Ctx, http.MethodPut, client.Path("instances", name), inst.Writable(), etag); err != nil {
				return err
			}
			a.Say("Device %s overridden for %s", args[1], name)
			return nil
		}})
}
