// Package remote is the branch "lxc remote".
package remote

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/conf"
	"lxd/internal/cli/pin"
)

// Command is the branch "lxc remote".
func Command(a *command.App) *cobra.Command {
	return command.Branch("remote", "Manage the list of remote servers",
		remoteAdd(a), remoteGetDefault(a), remoteList(a), remoteRemove(a), remoteRename(a), remoteSetURL(a), remoteSwitch(a))
}

func remoteChange(a *command.App, s command.Leaf, n int, change func(cfg *conf.Config, args []string) error) *cobra.Command {
	s.Least, s.Most = n, n
	s.Run = func(args []string) error {
		cfg, err := a.Config()
		if err != nil {
			return err
		}
		if err := change(cfg, args); err != nil {
			return err
		}
		return cfg.Save()
	}
	return a.Leaf(s)
}

func remoteAdd(a *command.App) *cobra.Command {
	var j join
	cmd := a.Leaf(command.Leaf{Use: "add [<remote>] <IP|FQDN|URL|token>", Short: "Add new remote servers", Least: 1, Most: 2,
		Long: `Add new remote servers

A server is trusted by its certificate, whose fingerprint is shown and has to be confirmed once. To be trusted by the
server, use a token that was made there with "lxc auth identity create" or "lxc config trust add", or sign in with
--auth-type oidc where the server trusts an OpenID Connect issuer.`,
		Example: `lxc remote add box 10.0.0.5
lxc remote add box <token>
lxc remote add other unix:///srv/lxd/unix.socket`,
		Run: func(args []string) error {
			j.app, j.typed = a, args[len(args)-1]
			if len(args) == 2 {
				j.name = args[0]
			}
			return j.run()
		}})
	f := cmd.Flags()
	f.BoolVar(&j.accept, "accept-certificate", false, "Accept the server's certificate without asking")
	f.StringVar(&j.remote.AuthType, "auth-type", "", "Server authentication type (tls or oidc)``")
	f.StringVar(&j.password, "password", "", "Trust password of servers from before there were tokens``")
	f.StringVar(&j.remote.Project, "project", "", "Project to use for the remote``")
	f.StringVar(&j.remote.Protocol, "protocol", "", "Server protocol (lxd or simplestreams)``")
	f.BoolVar(&j.remote.Public, "public", false, "Public image server")
	f.StringVar(&j.token, "token", "", "Trust token of the server``")
	return cmd
}

func remoteGetDefault(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "get-default", Short: "Show the default remote",
		Run: func([]string) error {
			cfg, err := a.Config()
			if err == nil {
				a.Printf("%s\n", cfg.DefaultRemote)
			}
			return err
		}})
}

func remoteList(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list", Aliases: []string{"ls"}, Short: "List the available remotes",
		Run: func([]string) error {
			cfg, err := a.Config()
			if err != nil {
				return err
			}
			var rows [][]string
			for name, r := range cfg.Remotes {
				if name == cfg.DefaultRemote {
					name += " (current)"
				}
				rows = append(rows, []string{name, r.Addr, cmp.Or(r.Protocol, "lxd"), authOf(r), command.YesNo(r.Public), command.YesNo(r.Static), command.YesNo(r.Global)})
			}
			return a.List(*shape, []string{"NAME", "URL", "PROTOCOL", "AUTH TYPE", "PUBLIC", "STATIC", "GLOBAL"}, rows, cfg.Remotes)
		}})
	shape = command.Format(cmd)
	return cmd
}

// authOf is how a remote knows us.
func authOf(r conf.Remote) string {
	switch {
	case r.AuthType != "":
		return r.AuthType
	case strings.HasPrefix(r.Addr, "unix:"):
		return "file access"
	case r.Protocol == "simplestreams" || r.Public:
		return "none"
	}
	return "tls"
}

func remoteRemove(a *command.App) *cobra.Command {
	return remoteChange(a, command.Leaf{Use: "remove <remote>", Aliases: []string{"rm"}, Short: "Remove remotes"}, 1,
		func(cfg *conf.Config, args []string) error {
			if _, err := cfg.Editable(args[0]); err != nil {
				return err
			}
			if cfg.DefaultRemote == args[0] {
				return errors.New("Can't remove the default remote")
			}
			delete(cfg.Remotes, args[0])
			return cfg.Forget(args[0])
		})
}

func remoteRename(a *command.App) *cobra.Command {
	return remoteChange(a, command.Leaf{Use: "rename <remote> <new-name>", Aliases: []string{"mv"}, Short: "Rename remotes"}, 2,
		func(cfg *conf.Config, args []string) error {
			r, err := cfg.Editable(args[0])
			if err != nil {
				return err
			}
			if err := cfg.Free(args[1]); err != nil {
				return err
			}
			delete(cfg.Remotes, args[0])
			cfg.Remotes[args[1]] = r
			if cfg.DefaultRemote == args[0] {
				cfg.DefaultRemote = args[1]
			}
			return cfg.Move(args[0], args[1])
		})
}

func remoteSetURL(a *command.App) *cobra.Command {
	return remoteChange(a, command.Leaf{Use: "set-url <remote> <URL>", Short: "Set the URL for the remote"}, 2,
		func(cfg *conf.Config, args []string) error {
			r, err := cfg.Editable(args[0])
			if err != nil {
				return err
			}
			if r.Addr, err = address(args[1], r.Protocol); err != nil {
				return err
			}
			cfg.Remotes[args[0]] = r
			return nil
		})
}

func remoteSwitch(a *command.App) *cobra.Command {
	return remoteChange(a, command.Leaf{Use: "switch <remote>", Aliases: []string{"set-default"}, Short: "Switch the default remote"}, 1,
		func(cfg *conf.Config, args []string) error {
			if _, ok := cfg.Remotes[args[0]]; !ok {
				return fmt.Errorf("Remote %s doesn't exist", args[0])
			}
			cfg.DefaultRemote = args[0]
			return nil
		})
}

// join makes a server a remote: it finds out how to reach it, has the user trust it, and has it trust the user.
type join struct {
	app *command.App
	// name is the remote's, typed what the user gave as its address.
	name, typed     string
	remote          conf.Remote
	token, password string
	accept          bool

	fingerprint string
	// authority tells that one of the client's own vouches for servers, and signs what clients are known by.
	authority bool
}

func (j *join) run() error {
	cfg, err := j.app.Config()
	if err != nil {
		return err
	}
	if err := j.check(); err != nil {
		return err
	}
	addresses, err := j.addresses()
	if err != nil {
		return err
	}
	if j.name == "" {
		j.name = hostOf(addresses[0])
	}
	if err := cfg.Free(j.name); err != nil {
		return err
	}
	if j.remote.Protocol == "simplestreams" || !strings.HasPrefix(addresses[0], "https:") {
		j.remote.Addr, j.remote.Public = addresses[0], j.remote.Public || j.remote.Protocol == "simplestreams"
		cfg.Remotes[j.name] = j.remote
		return cfg.Save()
	}
	err = j.meet(cfg, addresses)
	if err == nil {
		return cfg.Save()
	}
	return errors.Join(err, cfg.Forget(j.name))
}

func (j *join) check() error {
	switch {
	case j.remote.Protocol != "" && j.remote.Protocol != "lxd" && j.remote.Protocol != "simplestreams":
		return fmt.Errorf("Invalid protocol: %s", j.remote.Protocol)
	case j.remote.AuthType != "" && j.remote.AuthType != "tls" && j.remote.AuthType != command.OIDC:
		return fmt.Errorf("Authentication type %q is not supported by this client: use tls or oidc", j.remote.AuthType)
	}
	if _, ok := pin.ParseToken(j.token); j.token != "" && !ok {
		return errors.New("The value of --token is no trust token: make one on the server with \"lxc config trust add\"")
	}
	return nil
}

// addresses are where the server may be: as typed, or those in the token.
func (j *join) addresses() ([]string, error) {
	token, ok := pin.ParseToken(j.typed)
	if !ok {
		token, _ = pin.ParseToken(j.token)
		j.fingerprint = token.Fingerprint
		one, err := address(j.typed, j.remote.Protocol)
		return []string{one}, err
	}
	j.token, j.fingerprint = j.typed, token.Fingerprint
	var all []string
	for _, typed := range token.Addresses {
		one, err := pin.URL(typed)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// address is the URL of a server that the user typed.
func address(typed, protocol string) (string, error) {
	if strings.HasPrefix(typed, "unix:") {
		return typed, nil
	}
	if protocol != "simplestreams" {
		return pin.URL(typed)
	}
	if u, err := url.Parse(typed); err != nil || u.Scheme != "https" {
		return "", errors.New("Only https URLs are supported for simplestreams")
	}
	return typed, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ReplaceAll(u.Hostname(), ":", "-")
}

// meet tries the addresses until one answers, and has both sides trust each other.
func (j *join) meet(cfg *conf.Config, addresses []string) error {
	authority, err := pin.LoadAuthority(cfg.Authority())
	if err != nil {
		return err
	}
	j.authority = authority != nil
	var failed error
	for _, at := range addresses {
		c, vouched, err := pin.ServerCertificate(j.app.Ctx, at, authority)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", at, err))
			continue
		}
		// A token names the server's own certificate; one that a name is vouched for by is another, and comes and goes.
		if !vouched || j.token == j.typed && !j.authority {
			if err := j.confirm(pin.Fingerprint(c)); err != nil {
				return err
			}
			if err := pin.Save(cfg.ServerCertificate(j.name), c); err != nil {
				return err
			}
		}
		j.remote.Addr, j.remote.Protocol = at, "lxd"
		return j.introduce(cfg)
	}
	return fmt.Errorf("The server cannot be reached: %w", failed)
}

// confirm has the user trust a server, unless a token tells which one it is.
func (j *join) confirm(fingerprint string) error {
	switch {
	case j.fingerprint == fingerprint:
		return nil
	case j.fingerprint != "":
		return fmt.Errorf("Certificate fingerprint mismatch between token and server %q: the token is for another server", j.typed)
	case j.accept:
		return nil
	}
	j.app.Printf("Certificate fingerprint: %s\n", fingerprint)
	for {
		answer, err := j.app.Ask("ok (y/n/[fingerprint])? ")
		if err != nil {
			return err
		}
		switch answer := strings.ToLower(answer); {
		case answer == "y", answer == "yes", answer == fingerprint:
			return nil
		case answer == "n", answer == "no":
			return errors.New("Server certificate NACKed by user")
		case len(answer) > 3:
			return errors.New("The server's certificate has another fingerprint: do not trust it")
		}
	}
}

// introduce has the server trust the user.
func (j *join) introduce(cfg *conf.Config) error {
	if j.remote.AuthType == command.OIDC && !j.remote.Public {
		return j.signIn(cfg)
	}
	cert, key := cfg.ClientCertificate()
	if !j.remote.Public && !j.authority {
		made, err := pin.Generate(cert, key)
		if err != nil {
			return err
		}
		if made {
			j.app.Say("Generating a client certificate. This may take a minute...")
		}
	}
	if !j.remote.Public {
		j.remote.AuthType = "tls"
	}
	cfg.Remotes[j.name] = j.remote
	server, err := j.app.Connect(cfg, j.name, j.remote)
	if err != nil {
		return err
	}
	told, err := server.Server(j.app.Ctx)
	if err != nil || j.remote.Public || told.Auth == "trusted" {
		return err
	}
	if err := j.prove(server, told); err != nil {
		return err
	}
	if told, err = server.Server(j.app.Ctx); err == nil && told.Auth != "trusted" {
		err = errors.New("Server doesn't trust us after authentication")
	}
	return err
}

// signIn has the user sign in where the server says; the tokens that come of it are kept.
func (j *join) signIn(cfg *conf.Config) error {
	cfg.Remotes[j.name] = j.remote
	server, err := j.app.Connect(cfg, j.name, j.remote)
	if err != nil {
		return err
	}
	told, err := server.Server(j.app.Ctx)
	switch status := client.StatusOf(err); {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("The server does not let us in with OpenID Connect: %w", err)
	case err != nil:
		return err
	case told.Auth != "trusted":
		return errors.New("Server doesn't trust us after authentication")
	}
	j.app.Say("Signed in as %s", told.AuthUserName)
	return nil
}

// prove sends the token, which it asks for if there is none.
func (j *join) prove(server *client.Client, told *api.Server) (err error) {
	if j.token == "" && j.password == "" {
		if j.token, err = j.app.Ask("Trust token for " + j.name + ": "); err != nil {
			return err
		}
		if _, ok := pin.ParseToken(j.token); !ok {
			return errors.New("Not a trust token: make one on the server with \"lxc config trust add\"")
		}
	}
	if token, _ := pin.ParseToken(j.token); token.Type == api.IdentityTypeClientCertificatePending {
		// The identity that the token is of gets this client's certificate, and goes by the rights of its groups.
		if _, err := server.CreateTLSIdentity(j.app.Ctx, api.IdentitiesTLSPost{TrustToken: j.token}); err != nil {
			return err
		}
		j.app.Say("Client certificate now trusted by server: %s", j.name)
		return nil
	}
	body := api.CertificatesPost{Type: "client", TrustToken: j.token, Password: j.password}
	if j.token != "" && !command.HasExtension(told, "explicit_trust_token") {
		body.TrustToken, body.Password = "", j.token
	}
	if err := server.Apply(j.app.Ctx, http.MethodPost, "/1.0/certificates", body, ""); err != nil {
		return err
	}
	j.app.Say("Client certificate now trusted by server: %s", j.name)
	return nil
}
