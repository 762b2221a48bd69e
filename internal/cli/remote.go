package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/internal/cli/conf"
)

func remoteCommand(a *App) *cobra.Command {
	return branch("remote", "Manage the list of remote servers",
		remoteAdd(a), remoteGetDefault(a), remoteList(a), remoteRemove(a), remoteRename(a), remoteSetURL(a), remoteSwitch(a))
}

func remoteChange(a *App, s spec, n int, change func(cfg *conf.Config, args []string) error) *cobra.Command {
	s.least, s.most = n, n
	s.complete = a.remoteNames
	s.run = func(args []string) error {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		if err := change(cfg, args); err != nil {
			return err
		}
		return cfg.Save()
	}
	return a.leaf(s)
}

func (a *App) remoteNames(args []string, prefix string) []string {
	cfg, err := a.config()
	if err != nil || len(args) > 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(cfg.Remotes))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
}

// remoteFlags are the flags of remote add.
type remoteFlags struct {
	auth, project, protocol string
	public                  bool
}

func remoteAdd(a *App) *cobra.Command {
	var f remoteFlags
	cmd := remoteChange(a, spec{use: "add [<remote>] <IP|FQDN|URL|token>", short: "Add new remote servers",
		long:    "Add new remote servers\n\nA unix:// socket of another LXD on this machine and public servers can be added. For servers that need trust, put\nclient.crt, client.key and servercerts/<remote>.crt into the configuration directory.",
		example: "lxc remote add other unix:///srv/lxd/unix.socket"}, 2,
		func(cfg *conf.Config, args []string) error {
			if _, ok := cfg.Remotes[args[0]]; ok {
				return fmt.Errorf("Remote %s exists as <%s>", args[0], cfg.Remotes[args[0]].Addr)
			}
			cfg.Remotes[args[0]] = conf.Remote{Addr: args[1], AuthType: f.auth, Project: f.project, Protocol: f.protocol, Public: f.public}
			return nil
		})
	cmd.Flags().StringVar(&f.auth, "auth-type", "", "Server authentication type (tls or oidc)``")
	cmd.Flags().StringVar(&f.project, "project", "", "Project to use for the remote``")
	cmd.Flags().StringVar(&f.protocol, "protocol", "", "Server protocol (lxd or simplestreams)``")
	cmd.Flags().BoolVar(&f.public, "public", false, "Public image server")
	return cmd
}

func remoteGetDefault(a *App) *cobra.Command {
	return a.leaf(spec{use: "get-default", short: "Show the default remote",
		run: func([]string) error {
			cfg, err := a.config()
			if err == nil {
				a.printf("%s\n", cfg.DefaultRemote)
			}
			return err
		}})
}

func remoteList(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list", aliases: []string{"ls"}, short: "List the available remotes",
		run: func([]string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			var rows [][]string
			for name, r := range cfg.Remotes {
				if name == cfg.DefaultRemote {
					name += " (current)"
				}
				rows = append(rows, []string{name, r.Addr, cmp.Or(r.Protocol, "lxd"), authOf(r), yesNo(r.Public), yesNo(r.Static), yesNo(r.Global)})
			}
			return a.list(*shape, []string{"NAME", "URL", "PROTOCOL", "AUTH TYPE", "PUBLIC", "STATIC", "GLOBAL"}, rows, cfg.Remotes)
		}})
	shape = format(cmd)
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

func remoteRemove(a *App) *cobra.Command {
	return remoteChange(a, spec{use: "remove <remote>", aliases: []string{"rm"}, short: "Remove remotes"}, 1,
		func(cfg *conf.Config, args []string) error {
			if _, err := cfg.Editable(args[0]); err != nil {
				return err
			}
			if cfg.DefaultRemote == args[0] {
				return errors.New("Can't remove the default remote")
			}
			delete(cfg.Remotes, args[0])
			return nil
		})
}

func remoteRename(a *App) *cobra.Command {
	return remoteChange(a, spec{use: "rename <remote> <new-name>", aliases: []string{"mv"}, short: "Rename remotes"}, 2,
		func(cfg *conf.Config, args []string) error {
			r, err := cfg.Editable(args[0])
			if err != nil {
				return err
			}
			if _, ok := cfg.Remotes[args[1]]; ok {
				return fmt.Errorf("Remote %s already exists", args[1])
			}
			delete(cfg.Remotes, args[0])
			cfg.Remotes[args[1]] = r
			if cfg.DefaultRemote == args[0] {
				cfg.DefaultRemote = args[1]
			}
			return nil
		})
}

func remoteSetURL(a *App) *cobra.Command {
	return remoteChange(a, spec{use: "set-url <remote> <URL>", short: "Set the URL for the remote"}, 2,
		func(cfg *conf.Config, args []string) error {
			r, err := cfg.Editable(args[0])
			if err != nil {
				return err
			}
			r.Addr = args[1]
			cfg.Remotes[args[0]] = r
			return nil
		})
}

func remoteSwitch(a *App) *cobra.Command {
	return remoteChange(a, spec{use: "switch <remote>", aliases: []string{"set-default"}, short: "Switch the default remote"}, 1,
		func(cfg *conf.Config, args []string) error {
			if _, ok := cfg.Remotes[args[0]]; !ok {
				return fmt.Errorf("Remote %s doesn't exist", args[0])
			}
			cfg.DefaultRemote = args[0]
			return nil
		})
}

// tlsConfig trusts exactly the pinned certificate of a remote if there is one, else the system's authorities.
func tlsConfig(cfg *conf.Config, name string) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS13}
	if cert, err := tls.LoadX509KeyPair(cfg.ClientCertificate()); err == nil {
		out.Certificates = []tls.Certificate{cert}
	}
	data, err := os.ReadFile(cfg.ServerCertificate(name))
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", cfg.ServerCertificate(name))
	}
	pinned, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ServerCertificate(name), err)
	}
	// The names in a server's own certificate say nothing: it is known by being the very certificate that was pinned.
	out.InsecureSkipVerify = true
	out.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(pinned) {
			return fmt.Errorf("the certificate of %s is not the one that was trusted before", name)
		}
		return nil
	}
	return out, nil
}
