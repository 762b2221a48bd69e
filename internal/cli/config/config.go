// Package config is the branch "lxc config": the configuration of instances and of servers, and whom a server trusts.
package config

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
	"lxd/internal/cli/property"
	"lxd/internal/cli/render"
)

const serverHelp = `This is the configuration of the server as YAML; lines that start with # are ignored.

For example:
  config:
    core.https_address: '[::]:8443'`

func serverKind(a *command.App) *command.Kind[api.Server, serverConfig] {
	return &command.Kind[api.Server, serverConfig]{
		App: a, Noun: "server", Words: "[<remote>:]", Names: 1, Help: serverHelp, Newline: true,
		Path:     func([]string) string { return "/1.0" },
		Writable: func(s *api.Server) serverConfig { return newServerConfig(s.Config) },
		Settings: func(p *serverConfig) *map[string]string { return &p.Config },
	}
}

// serverConfig is api.ServerPut with texts for values, which is all that a server takes.
type serverConfig struct {
	Config map[string]string
	// masked are the keys whose values the server does not show: it says true of a secret, and keeps it when it is sent that.
	masked map[string]bool
}

func newServerConfig(config map[string]any) serverConfig {
	out := serverConfig{texts(config), map[string]bool{}}
	for key, value := range config {
		out.masked[key] = value == true
	}
	return out
}

// MarshalJSON writes the configuration as it is sent.
func (c serverConfig) MarshalJSON() ([]byte, error) {
	config := map[string]any{}
	for key, value := range c.Config {
		config[key] = value
		if c.masked[key] && value == "true" {
			config[key] = true
		}
	}
	return json.Marshal(map[string]any{"config": config})
}

// UnmarshalYAML reads the configuration as it is edited.
func (c *serverConfig) UnmarshalYAML(n *yaml.Node) error {
	var in struct {
		Config map[string]any `yaml:"config"`
	}
	if err := n.Decode(&in); err != nil {
		return err
	}
	*c = newServerConfig(in.Config)
	return nil
}

func texts(in map[string]any) map[string]string {
	out := make(map[string]string, len(in))
	for key, value := range in {
		out[key] = fmt.Sprint(value)
	}
	return out
}

// Command is the branch "lxc config".
func Command(a *command.App) *cobra.Command {
	devices := device.InstanceSet(a)
	return command.Branch("config", "Manage instance and server configuration options",
		devices.Command(device.Override(a)), configEdit(a), configGet(a), configMetadata(a), configSet(a), configShow(a), configTemplate(a), trustCommand(a), configUnset(a))
}

// configFlags are the flags of the config commands, and what is to be changed.
type configFlags struct {
	target             string
	property, expanded bool
	changes            map[string]string
	// unset says that the changes are those of the command unset.
	unset bool
}

func (f *configFlags) declare(cmd *cobra.Command, verb string) {
	cmd.Flags().StringVar(&f.target, "target", "", "Cluster member name``")
	if verb != "" {
		cmd.Flags().BoolVarP(&f.property, "property", "p", false, verb+" the key as an instance property")
	}
}

// onServer tells whether args mean the server and not an instance: no name before the key, or only a remote.
func onServer(args []string, rest int) bool {
	return len(args) == rest || strings.HasSuffix(args[0], ":")
}

// serverArgs puts the remote in front of args that do not start with one.
func serverArgs(args []string) []string {
	if len(args) > 0 && strings.HasSuffix(args[0], ":") {
		return args
	}
	return append([]string{""}, args...)
}

// refuse returns an error when flags were given that only make sense for instances, or only for servers.
func (f *configFlags) refuse(server bool) error {
	switch {
	case server && f.expanded:
		return fmt.Errorf("--expanded cannot be used with a server")
	case server && f.property:
		return fmt.Errorf("--property cannot be used with a server")
	case !server && f.target != "":
		return fmt.Errorf("--target cannot be used with instances")
	}
	return nil
}

// isSnapshot tells whether arg names a snapshot of an instance.
func isSnapshot(arg string) bool { return strings.Contains(command.Plain(arg), "/") }

func snapshotKind(a *command.App) *command.Kind[api.InstanceSnapshotPut, api.InstanceSnapshotPut] {
	return &command.Kind[api.InstanceSnapshotPut, api.InstanceSnapshotPut]{App: a, Noun: "snapshot", Names: 1, Path: device.InstancePath,
		Writable: func(p *api.InstanceSnapshotPut) api.InstanceSnapshotPut { return *p }}
}

// needProperty refuses to read or to change the configuration of a snapshot, which stays as it was.
func (f *configFlags) needProperty() error {
	if !f.property {
		return fmt.Errorf("The configuration of a snapshot cannot be read or changed by key: use --property with expires_at, or lxc config show")
	}
	return nil
}

func configGet(a *command.App) *cobra.Command {
	var f configFlags
	cmd := a.Leaf(command.Leaf{Use: "get [<remote>:][<instance>] <key>", Short: "Get values for instance or server configuration keys", Least: 1, Most: 2,
		Run: func(args []string) error {
			server := onServer(args, 1)
			if err := f.refuse(server); err != nil {
				return err
			}
			if server {
				args = serverArgs(args)
				return printKey(serverKind(a), args, f, func(s *api.Server) map[string]string { return texts(s.Config) })
			}
			if isSnapshot(args[0]) {
				if err := f.needProperty(); err != nil {
					return err
				}
				return printKey(snapshotKind(a), args, f, func(*api.InstanceSnapshotPut) map[string]string { return nil })
			}
			return printKey(device.InstanceKind(a), args, f, func(i *api.Instance) map[string]string {
				if f.expanded {
					return i.ExpandedConfig
				}
				return i.Config
			})
		}})
	f.declare(cmd, "Get")
	cmd.Flags().BoolVarP(&f.expanded, "expanded", "e", false, "Access the expanded configuration")
	return cmd
}

func printKey[F, P any](k *command.Kind[F, P], args []string, f configFlags, config func(*F) map[string]string) error {
	if len(args) != 2 {
		return fmt.Errorf("Invalid number of arguments")
	}
	_, full, err := command.Load(k, args, f.target)
	if err != nil {
		return err
	}
	value := config(full)[args[1]]
	if f.property {
		put := k.Writable(full)
		if value, err = property.Read(&put, args[1]); err != nil {
			return err
		}
	}
	k.App.Printf("%s\n", value)
	return nil
}

func configSet(a *command.App) *cobra.Command {
	var f configFlags
	cmd := a.Leaf(command.Leaf{Use: "set [<remote>:][<instance>] <key>=<value>...", Short: "Set instance or server configuration keys", Least: 1, Most: -1,
		Long:    "Set instance or server configuration keys\n\nA single key may also be given in two arguments: <key> <value>",
		Example: "lxc config set c1 limits.cpu=2\n    Allow c1 two CPUs\n\nlxc config set core.https_address=[::]:8443\n    Have the server listen on port 8443 of every address",
		Run: func(args []string) error {
			// Without an instance the first argument is a key: "key=value", or "key value".
			server := strings.Contains(args[0], "=") || strings.HasSuffix(args[0], ":") || len(args) == 2 && !strings.Contains(args[1], "=")
			if len(args) == 1 && !server {
				return fmt.Errorf("Invalid number of arguments")
			}
			if server {
				args = serverArgs(args)
			}
			var err error
			if f.changes, err = a.Assignments(args[1:]); err != nil {
				return err
			}
			return configChange(a, server, args, f)
		}})
	f.declare(cmd, "Set")
	return cmd
}

func configUnset(a *command.App) *cobra.Command {
	var f configFlags
	cmd := a.Leaf(command.Leaf{Use: "unset [<remote>:][<instance>] <key>", Short: "Unset instance or server configuration keys", Least: 1, Most: 2,
		Run: func(args []string) error {
			server := onServer(args, 1)
			if server {
				args = serverArgs(args)
			}
			if len(args) != 2 {
				return fmt.Errorf("Invalid number of arguments")
			}
			f.changes, f.unset = map[string]string{args[1]: ""}, true
			return configChange(a, server, args, f)
		}})
	f.declare(cmd, "Unset")
	return cmd
}

// configChange sets and, for empty values, unsets keys of the server or of an instance.
func configChange(a *command.App, server bool, args []string, f configFlags) error {
	if err := f.refuse(server); err != nil {
		return err
	}
	if server {
		return changeServer(a, args, f)
	}
	if isSnapshot(args[0]) {
		if err := f.needProperty(); err != nil {
			return err
		}
		return snapshotKind(a).Update(args, "", func(p *api.InstanceSnapshotPut) error { return property.Write(p, f.changes) })
	}
	k := device.InstanceKind(a)
	return k.Update(args, "", func(p *api.InstancePut) error {
		if f.property {
			return property.Write(p, f.changes)
		}
		if p.Config == nil {
			p.Config = map[string]string{}
		}
		return merge(p.Config, f.changes, f.unset)
	})
}

func changeServer(a *command.App, args []string, f configFlags) error {
	o, full, err := command.Load(serverKind(a), args, f.target)
	if err != nil {
		return err
	}
	next := newServerConfig(full.Config)
	if err := merge(next.Config, f.changes, f.unset); err != nil {
		return err
	}
	return o.Server.Apply(a.Ctx, http.MethodPut, "/1.0", next, "")
}

// merge applies changes to config; an empty value removes a key, which must be there if that was asked for by the word unset.
func merge(config, changes map[string]string, unset bool) error {
	for key, value := range changes {
		if value != "" {
			config[key] = value
			continue
		}
		if _, ok := config[key]; !ok && unset {
			return fmt.Errorf("Can't unset key '%s', it's not currently set", key)
		}
		delete(config, key)
	}
	return nil
}

func configShow(a *command.App) *cobra.Command {
	var f configFlags
	cmd := a.Leaf(command.Leaf{Use: "show [<remote>:][<instance>[/<snapshot>]]", Short: "Show instance or server configurations", Most: 1,
		Run: func(args []string) error {
			server := onServer(args, 0)
			if err := f.refuse(server); err != nil {
				return err
			}
			if server {
				_, full, err := command.Load(serverKind(a), serverArgs(args), f.target)
				if err != nil {
					return err
				}
				return render.YAML(a.Out, full.Writable())
			}
			return showInstance(a, args[0], f.expanded)
		}})
	f.declare(cmd, "")
	cmd.Flags().BoolVarP(&f.expanded, "expanded", "e", false, "Show the expanded configuration")
	return cmd
}

func showInstance(a *command.App, arg string, expanded bool) error {
	if isSnapshot(arg) {
		return showSnapshot(a, arg)
	}
	_, inst, err := command.Load(device.InstanceKind(a), []string{arg}, "")
	if err != nil {
		return err
	}
	if expanded {
		inst.Config, inst.Devices = inst.ExpandedConfig, inst.ExpandedDevices
	}
	return render.YAML(a.Out, inst.Writable())
}

func showSnapshot(a *command.App, arg string) error {
	server, name, err := a.Parse(arg)
	if err != nil {
		return err
	}
	var snap api.InstanceSnapshot
	if _, err := server.Get(a.Ctx, device.InstancePath([]string{name}), &snap); err != nil {
		return err
	}
	return render.YAML(a.Out, snap)
}

func configEdit(a *command.App) *cobra.Command {
	var f configFlags
	cmd := a.Leaf(command.Leaf{Use: "edit [<remote>:][<instance>[/<snapshot>]]", Short: "Edit instance or server configurations as YAML", Most: 1,
		Example: "lxc config edit c1 < instance.yaml\n    Replace the configuration of c1 by the content of a file",
		Run: func(args []string) error {
			server := onServer(args, 0)
			if err := f.refuse(server); err != nil {
				return err
			}
			if !server {
				return editInstance(a, args[0])
			}
			return editServer(a, serverArgs(args), f.target)
		}})
	f.declare(cmd, "")
	return cmd
}

func editServer(a *command.App, args []string, target string) error {
	o, full, err := command.Load(serverKind(a), args, target)
	if err != nil {
		return err
	}
	save := func(text []byte) error {
		var p serverConfig
		if err := yaml.Unmarshal(text, &p); err != nil {
			return err
		}
		return o.Server.Apply(a.Ctx, http.MethodPut, "/1.0", p, "")
	}
	if piped, err := a.ReadIn(); err != nil || len(piped) > 0 {
		if err != nil {
			return err
		}
		return save(piped)
	}
	return a.EditYAML(serverHelp, full.Writable(), save)
}

// editInstance edits the writable part: the rest of an instance would only distract.
func editInstance(a *command.App, arg string) error {
	if isSnapshot(arg) {
		return snapshotKind(a).EditObject([]string{arg}, "")
	}
	k := &command.Kind[api.InstancePut, api.InstancePut]{App: a, Noun: "instance", Names: 1, Path: device.InstancePath, Help: device.InstanceHelp}
	return k.EditObject([]string{arg}, "")
}

func configMetadata(a *command.App) *cobra.Command {
	k := &command.Kind[api.ImageMetadata, api.ImageMetadata]{App: a, Noun: "instance metadata", Branch: "config metadata", Words: "[<remote>:]<instance>", Names: 1,
		Path: func(n []string) string { return client.Path("instances", n[0], "metadata") }}
	return command.Branch("metadata", "Manage instance metadata files", k.Edit(), k.Show())
}
