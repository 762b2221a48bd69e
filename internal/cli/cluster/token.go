package cluster

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/pin"
	"lxd/internal/cli/render"
)

// token lets a server join; operation is what stands for it.
type token struct {
	api.ClusterMemberJoinToken
	operation string
}

// text is what the joining server is given.
func (t token) text() (string, error) {
	b, err := json.Marshal(t.ClusterMemberJoinToken)
	return base64.StdEncoding.EncodeToString(b), err
}

// tokenOf reads the token that an operation stands for.
func tokenOf(o api.Operation) (t token, ok bool) {
	var m struct {
		ServerName, Secret, Fingerprint string
		Addresses                       []string
		ExpiresAt                       time.Time
	}
	b, err := json.Marshal(o.Metadata)
	if o.Class != "token" || err != nil || json.Unmarshal(b, &m) != nil || m.ServerName == "" {
		return t, false
	}
	return token{api.ClusterMemberJoinToken{ServerName: m.ServerName, Secret: m.Secret, Fingerprint: m.Fingerprint, Addresses: m.Addresses, ExpiresAt: m.ExpiresAt}, o.ID}, true
}

// tokens are those that can still be used.
func tokens(a *command.App, server *client.Client) (out []token, err error) {
	var byStatus map[string][]api.Operation
	if _, err := server.Get(a.Ctx, command.Recursive("/1.0/operations"), &byStatus); err != nil {
		return nil, err
	}
	for _, o := range byStatus["running"] {
		if t, ok := tokenOf(o); ok {
			out = append(out, t)
		}
	}
	return out, nil
}

func add(a *command.App) *cobra.Command {
	var name string
	cmd := a.Leaf(command.Leaf{Use: "add [[<remote>:]<member>]", Short: "Request a join token for adding a cluster member", Most: 1,
		Run: func(args []string) error {
			server, named, err := in(a, first(args))
			switch {
			case err != nil:
				return err
			case named != "" && name != "" && named != name:
				return errors.New("Cluster member name was provided as both a flag and as an argument")
			case named == "" && name == "":
				if named, err = a.Ask("Please provide cluster member name: "); err != nil {
					return err
				}
			case named == "":
				named = name
			}
			o, err := server.Send(a.Ctx, http.MethodPost, "/1.0/cluster/members", api.ClusterMembersPost{ServerName: named}, "")
			if err != nil {
				return err
			}
			if o == nil {
				return command.Unexpected("a token")
			}
			t, ok := tokenOf(o.Operation)
			if !ok {
				return command.Unexpected("a token")
			}
			text, err := t.text()
			if err != nil {
				return err
			}
			a.Say("Member %s join token:", named)
			a.Printf("%s\n", text)
			return nil
		}})
	cmd.Flags().StringVar(&name, "name", "", "Cluster member name (alternative to passing it as an argument)``")
	return cmd
}

// first is the first of args, if there is any.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func listTokens(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list-tokens [<remote>:]", Short: "List all active cluster member join tokens", Most: 1,
		Run: func(args []string) error {
			server, _, err := in(a, first(args))
			if err != nil {
				return err
			}
			all, err := tokens(a, server)
			if err != nil {
				return err
			}
			rows, raw := [][]string{}, []api.ClusterMemberJoinToken{}
			for _, t := range all {
				text, err := t.text()
				if err != nil {
					return err
				}
				rows, raw = append(rows, []string{t.ServerName, text, render.Time(t.ExpiresAt)}), append(raw, t.ClusterMemberJoinToken)
			}
			return a.List(*shape, []string{"NAME", "TOKEN", "EXPIRES AT"}, rows, raw)
		}})
	shape = command.Format(cmd)
	return cmd
}

func revokeToken(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "revoke-token [<remote>:]<member>", Short: "Revoke cluster member join token", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, name, err := in(a, args[0])
			if err != nil {
				return err
			}
			all, err := tokens(a, server)
			if err != nil {
				return err
			}
			for _, t := range all {
				if t.ServerName != name {
					continue
				}
				if err := server.Apply(a.Ctx, http.MethodDelete, client.Path("operations", t.operation), nil, ""); err != nil {
					return err
				}
				a.Say("Cluster join token for %s revoked", name)
				return nil
			}
			return fmt.Errorf("No active join token found for %q", name)
		}})
}

// pinAgain notes the new certificate of a remote, if one is noted at all.
func pinAgain(a *command.App, arg, text string) error {
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	remote, _, err := cfg.Parse(arg)
	if err != nil {
		return err
	}
	path := cfg.ServerCertificate(remote)
	if _, err := pin.Load(path); err != nil { // nothing is noted, so that authorities vouch for the server or it is local
		return nil
	}
	c, err := pin.Parse([]byte(text))
	if err != nil {
		return err
	}
	return pin.Save(path, c)
}
