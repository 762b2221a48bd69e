package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
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

func trustKind(a *App) *kind[api.Certificate, api.CertificatePut] {
	return &kind[api.Certificate, api.CertificatePut]{
		app: a, noun: "trust", words: "[<remote>:]<fingerprint>", names: 1, help: trustHelp, list: "certificates",
		path:     func(n []string) string { return client.Path("certificates", n[0]) },
		writable: func(c *api.Certificate) api.CertificatePut { return c.Writable() },
	}
}

func trustCommand(a *App) *cobra.Command {
	k := trustKind(a)
	return branch("trust", "Manage trusted clients",
		trustAdd(a), k.edit(), trustList(a), trustListTokens(a), trustRemove(k), trustRevoke(a), k.show())
}

func trustAdd(a *App) *cobra.Command {
	var body api.CertificatesPost
	var projects string
	cmd := a.leaf(spec{use: "add [<remote>:] [<cert>]", short: "Add new trusted client", most: 2,
		long: `Add new trusted client

With a certificate, the server trusts it from now on. Without one a token is printed, which one client can use
once to be trusted: lxc remote add <name> <token>`,
		example: "lxc config trust add --name laptop\nlxc config trust add box: laptop.crt --restricted --projects web",
		run: func(args []string) error {
			remote, file := "", ""
			for _, arg := range args {
				if strings.HasSuffix(arg, ":") && remote == "" {
					remote = arg
					continue
				}
				file = arg
			}
			server, _, err := a.parse(remote)
			if err != nil {
				return err
			}
			body.Projects = strings.FieldsFunc(projects, func(r rune) bool { return r == ',' })
			if file == "" {
				return a.addToken(server, body)
			}
			return a.addCertificate(server, file, body)
		}})
	cmd.Flags().StringVar(&body.Name, "name", "", "Alternative certificate name``")
	cmd.Flags().StringVar(&projects, "projects", "", "List of projects to restrict the certificate to``")
	cmd.Flags().BoolVar(&body.Restricted, "restricted", false, "Restrict the certificate to one or more projects")
	cmd.Flags().StringVar(&body.Type, "type", "client", "Type of certificate``")
	return cmd
}

func (a *App) addCertificate(server *client.Client, file string, body api.CertificatesPost) error {
	c, err := pin.Load(file)
	if err != nil {
		return fmt.Errorf("Cannot read the certificate: %w", err)
	}
	if body.Name == "" {
		body.Name = filepath.Base(file)
	}
	body.Certificate = base64.StdEncoding.EncodeToString(c.Raw)
	return server.Apply(a.ctx, post, "/1.0/certificates", body, "")
}

func (a *App) addToken(server *client.Client, body api.CertificatesPost) (err error) {
	if body.Name == "" {
		if body.Name, err = a.ask("Please provide client name: "); err != nil {
			return err
		}
	}
	body.Token = true
	o, err := server.Send(a.ctx, post, "/1.0/certificates", body, "")
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
	a.say("Client %s certificate add token:", t.ClientName)
	a.printf("%s\n", text)
	return nil
}

func trustList(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:]", aliases: []string{"ls"}, short: "List trusted clients", most: 1,
		run: func(args []string) error {
			server, _, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			var all []api.Certificate
			if _, err := server.Get(a.ctx, recursive("/1.0/certificates"), &all); err != nil {
				return err
			}
			var rows [][]string
			for _, c := range all {
				rows = append(rows, trustRow(c))
			}
			return a.list(*shape, []string{"TYPE", "NAME", "COMMON NAME", "FINGERPRINT", "ISSUE DATE", "EXPIRY DATE"}, rows, all)
		}})
	shape = format(cmd)
	return cmd
}

func trustRow(c api.Certificate) []string {
	row := []string{c.Type, c.Name, "", c.Fingerprint[:min(12, len(c.Fingerprint))], "", ""}
	if own, err := pin.Parse([]byte(c.Certificate)); err == nil {
		row[2], row[4], row[5] = own.Subject.CommonName, render.Time(own.NotBefore), render.Time(own.NotAfter)
	}
	return row
}

func trustListTokens(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list-tokens [<remote>:]", short: "List all active certificate add tokens", most: 1,
		run: func(args []string) error {
			server, _, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			tokens, err := a.tokens(server)
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
			return a.list(*shape, []string{"NAME", "TOKEN", "EXPIRES AT"}, rows, raw)
		}})
	shape = format(cmd)
	return cmd
}

// issued is a token and the operation that stands for it.
type issued struct {
	api.CertificateAddToken
	operation string
}

// tokens are those that can still be used.
func (a *App) tokens(server *client.Client) (out []issued, err error) {
	var byStatus map[string][]api.Operation
	if _, err := server.Get(a.ctx, recursive("/1.0/operations"), &byStatus); err != nil {
		return nil, err
	}
	for _, o := range byStatus["running"] {
		if t, ok := pin.TokenOf(o); ok {
			out = append(out, issued{t, o.ID})
		}
	}
	return out, nil
}

func trustRevoke(a *App) *cobra.Command {
	return a.leaf(spec{use: "revoke-token [<remote>:] <name>", short: "Revoke certificate add token", least: 1, most: 2,
		run: func(args []string) error {
			remote, name := "", args[len(args)-1]
			if len(args) == 2 {
				remote = args[0]
			} else if i := strings.IndexByte(name, ':'); i >= 0 {
				remote, name = name[:i+1], name[i+1:]
			}
			server, _, err := a.parse(remote)
			if err != nil {
				return err
			}
			tokens, err := a.tokens(server)
			if err != nil {
				return err
			}
			for _, t := range tokens {
				if t.ClientName != name {
					continue
				}
				if err := server.Apply(a.ctx, remove, client.Path("operations", t.operation), nil, ""); err != nil {
					return err
				}
				a.say("Certificate add token for %s deleted", name)
				return nil
			}
			return fmt.Errorf("No certificate add token for client %s", name)
		}})
}

func trustRemove(k *kind[api.Certificate, api.CertificatePut]) *cobra.Command {
	return k.command(spec{use: "remove [<remote>:]<fingerprint>", aliases: []string{"rm"}, short: "Remove trusted client", least: 1, most: 1,
		run: func(args []string) error {
			o, err := k.at(args, "")
			if err != nil {
				return err
			}
			return o.server.Apply(k.app.ctx, remove, o.path, nil, "")
		}})
}
