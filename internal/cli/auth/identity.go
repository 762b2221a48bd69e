package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/pin"
	"lxd/internal/cli/render"
)

const identityHelp = `This is the identity as YAML; lines that start with # are ignored.

For example:
  groups:
  - web
  tls_certificate: ""

Only the groups, and the certificate of an identity of type tls, can be changed.`

// identityWords name one identity in usage lines.
const identityWords = "[<remote>:]<type>/<name_or_identifier>"

// The types of identities that hold tokens, as the server calls them.
const (
	clientBearer = "Client token bearer"
	guestBearer  = "DevLXD token bearer"
)

// identities are those who may call to the commands that all objects share.
type identities = command.Kind[api.Identity, api.IdentityPut]

func identityCommand(a *command.App) *cobra.Command {
	k := &identities{
		App: a, Noun: "identity", Branch: "auth identity", Words: identityWords, Names: 1, Help: identityHelp,
		Path: func(n []string) string {
			method, name, _ := who(n[0]) // Named has refused what is no identity
			return client.IdentityPath(method, name)
		},
		Named: func(n []string) error {
			_, _, err := who(n[0])
			return err
		},
		Writable: func(i *api.Identity) api.IdentityPut { return i.Writable() },
	}
	return alias(command.Branch("identity", "Manage identities", identityCreate(a), k.Delete("Delete identities", "Identity %s deleted"), k.Edit(),
		command.Branch("group", "Manage the groups of identities",
			identityGroups(k, command.Leaf{Use: "add " + identityWords + " <group>", Short: "Add a group to an identity"}, join),
			identityGroups(k, command.Leaf{Use: "remove " + identityWords + " <group>", Short: "Remove a group from an identity"}, leave)),
		identityInfo(a), identityList(a), k.Show(),
		command.Branch("token", "Manage the tokens of bearer identities", tokenIssue(a), tokenRevoke(a))), "user")
}

func identityCreate(a *command.App) *cobra.Command {
	var in []string
	cmd := a.Leaf(command.Leaf{Use: "create [<remote>:]<type>/<name> [<path to PEM encoded certificate>] [[--group <group_name>]]", Short: "Create identities", Least: 1, Most: 2,
		Long: `Create identities

An identity has no rights but those of its groups. Its type is one of:
  tls     a client with a certificate. Without the certificate a token is printed, which one client can use once:
          lxc remote add <name> <token>
  bearer  a client with a token, which lxc auth identity token issue makes
  devlxd  an instance with such a token, which is good for its own /dev/lxd only

Identities of type oidc are made by their first login.`,
		Example: "lxc auth identity create tls/laptop --group web\n\nlxc auth identity create tls/laptop laptop.crt\n\nlxc auth identity create bearer/deploy --group web",
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			method, plain, err := who(name)
			switch {
			case err != nil:
				return err
			case method == "oidc":
				return errors.New("Identities of type oidc are made by their first login: have that user log in, then add groups with lxc auth identity group add")
			case method == "tls":
				return createTLS(a, server, api.IdentitiesTLSPost{Name: plain, Groups: in}, args[1:])
			case len(args) > 1:
				return fmt.Errorf("An identity of type %s has no certificate", strings.TrimSuffix(name, "/"+plain))
			}
			return createBearer(a, server, name, api.IdentitiesBearerPost{Name: plain, Groups: in})
		}})
	cmd.Flags().StringSliceVarP(&in, "group", "g", nil, "Groups to add to the identity``")
	return cmd
}

// createTLS makes an identity of the certificate in the file that is named, or a token for whoever shows one first.
func createTLS(a *command.App, server *client.Client, post api.IdentitiesTLSPost, file []string) error {
	post.Token = len(file) == 0
	if !post.Token {
		c, err := pin.Load(file[0])
		if err != nil {
			return fmt.Errorf("Cannot read the certificate: %w", err)
		}
		post.Certificate = base64.StdEncoding.EncodeToString(c.Raw)
	}
	token, err := server.CreateTLSIdentity(a.Ctx, post)
	if err != nil {
		return err
	}
	if token == nil {
		a.Say("TLS identity %s created", post.Name)
		return nil
	}
	text, err := pin.FormatToken(*token)
	if err != nil {
		return err
	}
	a.Say("TLS identity %s pending, its token:", post.Name)
	a.Printf("%s\n", text)
	return nil
}

func createBearer(a *command.App, server *client.Client, typed string, post api.IdentitiesBearerPost) error {
	post.Type = clientBearer
	if strings.HasPrefix(typed, "devlxd/") {
		post.Type = guestBearer
	}
	if err := server.CreateBearerIdentity(a.Ctx, post); err != nil {
		return err
	}
	a.Say("Identity %s created", typed)
	return nil
}

func identityList(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:]", Aliases: []string{"ls"}, Short: "List identities", Most: 1,
		Run: func(args []string) error {
			server, _, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			all, err := server.Identities(a.Ctx, "")
			if err != nil {
				return err
			}
			var rows [][]string
			for _, i := range all {
				rows = append(rows, []string{i.AuthenticationMethod, i.Type, i.Name, i.Identifier, lines(i.Groups)})
			}
			return a.List(*shape, []string{"AUTHENTICATION METHOD", "TYPE", "NAME", "IDENTIFIER", "GROUPS"}, rows, all)
		}})
	shape = command.Format(cmd)
	return cmd
}

func identityInfo(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "info [<remote>:]", Short: "View the current identity", Most: 1,
		Long: "View the current identity\n\nThis is whom the server takes you for, with all that you may do there.",
		Run: func(args []string) error {
			server, _, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			me, err := server.CurrentIdentity(a.Ctx)
			if err != nil {
				return err
			}
			return render.YAML(a.Out, me)
		}})
}

// identityGroups makes a command that changes which groups an identity is in.
func identityGroups(k *identities, l command.Leaf, edit func(in []string, group string) ([]string, error)) *cobra.Command {
	l.Least, l.Most = 2, 2
	l.Run = func(args []string) error {
		return k.Update(args, "", func(p *api.IdentityPut) (err error) {
			p.Groups, err = edit(p.Groups, args[1])
			return err
		})
	}
	return k.App.Leaf(l)
}
