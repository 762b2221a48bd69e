package auth

import (
	"fmt"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
)

// bearer is the identity with a token that arg names.
func bearer(a *command.App, arg string) (*client.Client, string, error) {
	server, name, err := a.Parse(arg)
	if err != nil {
		return nil, "", err
	}
	method, name, err := who(name)
	if err == nil && method != "bearer" {
		err = fmt.Errorf("Only identities of type bearer and devlxd have tokens, not those of type %s", method)
	}
	return server, name, err
}

func tokenIssue(a *command.App) *cobra.Command {
	var expiry string
	cmd := a.Leaf(command.Leaf{Use: "issue [<remote>:]<type>/<name>", Short: "Issue a token", Least: 1, Most: 1,
		Long: `Issue a token

It takes the place of the token that the identity had before. Send it with each request in the header Authorization:
  Authorization: Bearer <token>`,
		Example: "lxc auth identity token issue bearer/deploy --expiry 30d",
		Run: func(args []string) error {
			server, name, err := bearer(a, args[0])
			if err != nil {
				return err
			}
			token, err := server.IssueToken(a.Ctx, name, expiry)
			if err != nil {
				return err
			}
			a.Printf("%s\n", token)
			return nil
		}})
	cmd.Flags().StringVar(&expiry, "expiry", "", "How long the token is good for, such as 1d or 2H 30M``")
	return cmd
}

func tokenRevoke(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "revoke [<remote>:]<authentication_method>/<name_or_identifier>", Short: "Revoke a token", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, name, err := bearer(a, args[0])
			if err != nil {
				return err
			}
			if err := server.RevokeToken(a.Ctx, name); err != nil {
				return err
			}
			a.Say("Token of %s revoked", name)
			return nil
		}})
}
