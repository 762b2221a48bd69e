package server

import (
	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/internal/cli/command"
)

// Version shows the versions of lxc and of a server.
func Version(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "version [<remote>:]", Short: "Show local and remote versions", Most: 1,
		Run: func(args []string) error {
			name := "unreachable"
			server, _, err := a.RemoteArg(args, 0)
			if err == nil {
				if info, err := server.Server(a.Ctx); err == nil {
					name = info.Environment.ServerVersion
				}
				if name == "" {
					name = "unknown"
				}
			}
			a.Printf("Client version: %s\nServer version: %s\n", api.Version, name)
			return nil
		}})
}
