package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/pin"
	"lxd/internal/cli/render"
)

const trustHelp = `This is the trusted certificate as YAML; lines that start with # are ignored.

For example:
  name: laptop
  type: client
  restricted: true
  projects:
  - web

The fingerprint is shown and cannot be changed.`

func trustKind(a *command.App) *command.Kind[api.Certificate, api.CertificatePut] {
	return &command.Kind[api.Certificate, api.CertificatePut]{
		App: a, Noun: "trust", Branch: "config trust", Words: "[<remote>:]<fingerprint>", Names: 1, Help: trustHelp,
		Path:     func(n []string) string { return client.Path("certificates", n[0]) },
		Writable: func(c *api.Certificate) api.CertificatePut { return c.Writable() },
	}
}

func trustCommand(a *command.App) *cobra.Command {
	k := trustKind(a)
	return command.Branch("trust", "Manage trusted clients",
		trustAdd(a), k.Edit(), trustList(a), trustListTokens(a), trustRemove(k), trustRevoke(a), k.Show())
}

func trustAdd(a *command.App) *cobra.Command {
	var body api.CertificatesPost
	var projects string
	cmd := a.Leaf(command.Leaf{Use: "add [<remote>:] [<cert>]", Short: "Add new trusted client", Most: 2,
		Long: `Add new trusted client

With a certificate, the server trusts it from now on. Without one a token is printed, which one client can use
once to be trusted: lxc remote add <name> <token>`,
		Example: "lxc config trust add --name laptop\nlxc config trust add box: laptop.crt --restricted --projects web",
		Run: func(args []string) error {
			remote, file := "", ""
			for _, arg := range args {
				if strings.HasSuffix(arg, ":") && remote == "" {
					remote = arg
					continue
				}
				file = arg
			}
			server, _, err := a.Parse(remote)
			if err != nil {
				return err
			}
			body.Projects = strings.FieldsFunc(projects, func(r rune) bool { return r == ',' })
			if file == "" {
				return addToken(a, server, body)
			}
			return addCertificate(a, server, file, body)
		}})
	cmd.Flags().StringVar(&body.Name, "name", "", "Alternative certificate name``")
	cmd.Flags().StringVar(&projects, "projects", "", "List of projects to restrict the certificate to``")
	cmd.Flags().BoolVar(&body.Restricted, "restricted", false, "Restrict the certificate to one or more projects")
	cmd.Flags().StringVar(&body.Type, "type", "client", "Type of certificate``")
	return cmd
}

func addCertificate(a *command.App, server *client.Client, file string, body api.CertificatesPost) error {
	c, err := pin.Load(file)
	if err != nil {
		return fmt.Errorf("Cannot read the certificate: %w", err)
	}
	if body.Name == "" {
		body.Name = filepath.Base(file)
	}
	body.Certificate = base64.StdEncoding.EncodeToString(c.Raw)
	return server.Apply(a.Ctx, http.MethodPost, "/1.0/certificates", body, "")
}

func addToken(a *command.App, server *client.Client, body api.CertificatesPost) (err error) {
	if body.Name == "" {
		if body.Name, err = a.Ask("Please provide client name: "); err != nil {
			return err
		}
	}
	body.Token = true
	o, err := server.Send(a.Ctx, http.MethodPost, "/1.0/certificates", body, "")
	if err != nil {
		return err
	}
	if o == nil {
		return errors.New("The server answered without a token")
	}
	t, ok := pin.TokenOf(o.Operation)
	if !ok {
		return errors.New("The server's token has an unexpected form")
	}
	text, err := pin.FormatToken(t)
	if err != nil {
		return err
	}
	a.Say("Client %s certificate add token:", t.ClientName)
	a.Printf("%s\n", text)
	return nil
}

func trustList(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:]", Aliases: []string{"ls"}, Short: "List trusted clients", Most: 1,
		Run: func(args []string) error {
			server, _, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			var all []api.Certificate
			if _, err := server.Get(a.Ctx, command.Recursive("/1.0/certificates"), &all); err != nil {
				return err
			}
			var rows [][]string
			for _, c := range all {
				rows = append(rows, trustRow(c))
			}
			return a.List(*shape, []string{"TYPE", "NAME", "COMMON NAME", "FINGERPRINT", "ISSUE DATE", "EXPIRY DATE"}, rows, all)
		}})
	shape = command.Format(cmd)
	return cmd
}

func trustRow(c api.Certificate) []string {
	row := []string{c.Type, c.Name, "", c.Fingerprint[:min(12, len(c.Fingerprint))], "", ""}
	if own, err := pin.Parse([]byte(c.Certificate)); err == nil {
		row[2], row[4], row[5] = own.Subject.CommonName, render.Time(own.NotBefore), render.Time(own.NotAfter)
	}
	return row
}

func trustListTokens(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list-tokens [<remote>:]", Short: "List all active certificate add tokens", Most: 1,
		Run: func(args []string) error {
			server, _, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			tokens, err := tokens(a, server)
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []api.CertificateAddToken{}
			for _, t := range tokens {
				text, err := pin.FormatToken(t.CertificateAddToken)
				if err != nil {
					return err
				}
				expires := ""
				if !t.ExpiresAt.IsZero() {
					expires = render.Time(t.ExpiresAt)
				}
				rows, raw = append(rows, []string{t.ClientName, text, expires}), append(raw, t.CertificateAddToken)
			}
			return a.List(*shape, []string{"NAME", "TOKEN", "EXPIRES AT"}, rows, raw)
		}})
	shape = command.Format(cmd)
	return cmd
}

// issued is a token and the operation that stands for it.
type issued struct {
	api.CertificateAddToken
	operation string
}

// tokens are those that can still be used.
func tokens(a *command.App, server *client.Client) (out []issued, err error) {
	var byStatus map[string][]api.Operation
	if _, err := server.Get(a.Ctx, command.Recursive("/1.0/operations"), &byStatus); err != nil {
		return nil, err
	}
	for _, o := range byStatus["running"] {
		if t, ok := pin.TokenOf(o); ok {
			out = append(out, issued{t, o.ID})
		}
	}
	return out, nil
}

func trustRevoke(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "revoke-token [<remote>:] <name>", Short: "Revoke certificate add token", Least: 1, Most: 2,
		Run: func(args []string) error {
			remote, name := "", args[len(args)-1]
			if len(args) == 2 {
				remote = args[0]
			} else if i := strings.IndexByte(name, ':'); i >= 0 {
				remote, name = name[:i+1], name[i+1:]
			}
			server, _, err := a.Parse(remote)
			if err != nil {
				return err
			}
			tokens, err := tokens(a, server)
			if err != nil {
				return err
			}
			for _, t := range tokens {
				if t.ClientName != name {
					continue
				}
				if err := server.Apply(a.Ctx, http.MethodDelete, client.Path("operations", t.operation), nil, ""); err != nil {
					return err
				}
				a.Say("Certificate add token for %s deleted", name)
				return nil
			}
			return fmt.Errorf("No certificate add token for client %s", name)
		}})
}

func trustRemove(k *command.Kind[api.Certificate, api.CertificatePut]) *cobra.Command {
	return k.App.Leaf(command.Leaf{Use: "remove [<remote>:]<fingerprint>", Aliases: []string{"rm"}, Short: "Remove trusted client", Least: 1, Most: 1,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			return o.Server.Apply(k.App.Ctx, http.MethodDelete, o.Path, nil, "")
		}})
}
