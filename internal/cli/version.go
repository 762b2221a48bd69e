package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func versionCommand(a *App) *cobra.Command {
	return a.leaf(spec{use: "version [<remote>:]", short: "Show local and remote versions", most: 1,
		run: func(args []string) error {
			name := "unreachable"
			server, _, err := a.remoteArg(args, 0)
			if err == nil {
				if info, err := server.Server(a.ctx); err == nil {
					name = info.Environment.ServerVersion
				}
				if name == "" {
					name = "unknown"
				}
			}
			a.printf("Client version: %s\nServer version: %s\n", version, name)
			return nil
		}})
}

// unexpected is an answer of the server that lacks something.
func unexpected(what string) error { return fmt.Errorf("the server's answer lacks %s", what) }
