package network

import (
	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/internal/cli/command"
)

func allocationList(a *command.App) *cobra.Command {
	var all bool
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list-allocations", Short: "List network allocations in use", Most: 1,
		Long: "List network allocations in use\n\nThese are the addresses of networks, network forwards and instances.",
		Run: func(args []string) error {
			server, _, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			path := "/1.0/network-allocations"
			if all {
				path = command.Query(path, "all-projects", "true")
			}
			var list []api.NetworkAllocations
			if _, err := server.Get(a.Ctx, path, &list); err != nil {
				return err
			}
			cols, err := command.Pick("uatnm", []command.Column[api.NetworkAllocations]{
				command.Col('u', "USED BY", func(x *api.NetworkAllocations) string { return x.UsedBy }),
				command.Col('a', "ADDRESS", func(x *api.NetworkAllocations) string { return x.Address }),
				command.Col('t', "TYPE", func(x *api.NetworkAllocations) string { return x.Type }),
				command.Col('n', "NAT", func(x *api.NetworkAllocations) string { return command.YesNo(x.NAT) }),
				command.Col('m', "HARDWARE ADDRESS", func(x *api.NetworkAllocations) string { return x.Hwaddr }),
			})
			if err != nil {
				return err
			}
			header, rows := command.LayOut(cols, list)
			return a.List(*shape, header, rows, list)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "List allocations of all projects")
	shape = command.Format(cmd)
	return cmd
}
