package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/property"
	"lxd/internal/cli/render"
)

const instanceHelp = `This is the instance as YAML; lines that start with # are ignored.

It holds configuration keys, devices and profiles, for example:
  config:
    limits.cpu: "2"
  devices:
    data:
      path: /data
      source: /srv/data
      type: disk
  profiles:
  - default`

const serverHelp = `This is the configuration of the server as YAML; lines that start with # are ignored.

For example:
  config:
    core.https_address: '[::]:8443'`

func instanceKind(a *App) *kind[api.Instance, api.InstancePut] {
	return &kind[api.Instance, api.InstancePut]{
		app: a, noun: "instance", words: "[<remote>:]<instance>", names: 1, help: instanceHelp, newline: true, list: "instances",
		path:     instancePath,
		writable: func(i *api.Instance) api.InstancePut { return i.Writable() },
		settings: func(p *api.InstancePut) *map[string]string { return &p.Config },
	}
}

// instancePath is the URL of an instance, or of a snapshot given as instance/snapshot.
func instancePath(n []string) string {
	if inst, snap, ok := strings.Cut(n[0], "/"); ok {
		return client.Path("instances", inst, "snapshots", snap)
	}
	return client.Path("instances", n[0])
}

func serverKind(a *App) *kind[api.Server, serverConfig] {
	return &kind[api.Server, serverConfig]{
		app: a, noun: "server", words: "[<remote>:]", names: 1, help: serverHelp, newline: true,
		path:     func([]string) string { return "/1.0" },
		writable: func(s *api.Server) serverConfig { return serverConfig{texts(s.Config)} },
		settings: func(p *serverConfig) *map[string]string { return &p.Config },
	}
}

// serverConfig is api.ServerPut with texts for values, which is all that a server takes.
type serverConfig struct {
	Config map[string]string `json:"config" yaml:"config"`
}

func texts(in map[string]any) map[string]string {
	out := make(map[string]string, len(in))
	for key, value := range in {
		out[key] = fmt.Sprint(value)
	}
	return out
}

func configCommand(a *App) *cobra.Command {
	k := instanceKind(a)
	devices := deviceSet[api.Instance, api.InstancePut]{kind: k, owner: "instance",
		devices:   instanceDevices,
		inherited: func(i *api.Instance, device string) bool { return i.ExpandedDevices[device] != nil }}
	return branch("config", "Manage instance and server configuration options",
		devices.command(deviceOverride(a)), configEdit(a), configGet(a), configMetadata(a), configSet(a), configShow(a), trustCommand(a), configUnset(a))
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

func configGet(a *App) *cobra.Command {
	var f configFlags
	cmd := a.leaf(spec{use: "get [<remote>:][<instance>] <key>", short: "Get values for instance or server configuration keys", least: 1, most: 2,
		complete: a.completeNames("instances"),
		run: func(args []string) error {
			server := onServer(args, 1)
			if err := f.refuse(server); err != nil {
				return err
			}
			if server {
				args = serverArgs(args)
				return printKey(serverKind(a), args, f, func(s *api.Server) map[string]string { return texts(s.Config) })
			}
			return printKey(instanceKind(a), args, f, func(i *api.Instance) map[string]string {
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

func printKey[F, P any](k *kind[F, P], args []string, f configFlags, config func(*F) map[string]string) error {
	if len(args) != 2 {
		return fmt.Errorf("Invalid number of arguments")
	}
	_, full, err := load(k, args, f.target)
	if err != nil {
		return err
	}
	value := config(full)[args[1]]
	if f.property {
		put := k.writable(full)
		if value, err = property.Read(&put, args[1]); err != nil {
			return err
		}
	}
	k.app.printf("%s\n", value)
	return nil
}

// load reads the object that args name; a server has no name.
func load[F, P any](k *kind[F, P], args []string, target string) (object, *F, error) {
	server, name, err := k.app.parse(args[0])
	if err != nil {
		return object{}, nil, err
	}
	if target != "" {
		server = server.OnTarget(target)
	}
	o := object{server, k.path([]string{name})}
	var full F
	_, err = o.read(k.app.ctx, &full)
	return o, &full, err
}

func configSet(a *App) *cobra.Command {
	var f configFlags
	cmd := a.leaf(spec{use: "set [<remote>:][<instance>] <key>=<value>...", short: "Set instance or server configuration keys", least: 1, most: -1,
		complete: a.completeNames("instances"),
		long:     "Set instance or server configuration keys\n\nA single key may also be given in two arguments: <key> <value>",
		example:  "lxc config set c1 limits.cpu=2\n    Allow c1 two CPUs\n\nlxc config set core.https_address=[::]:8443\n    Have the server listen on port 8443 of every address",
		run: func(args []string) error {
			// Without an instance the first argument is a key: "key=value", or "key value".
			server := strings.Contains(args[0], "=") || strings.HasSuffix(args[0], ":") || len(args) == 2 && !strings.Contains(args[1], "=")
			if len(args) == 1 && !server {
				return fmt.Errorf("Invalid number of arguments")
			}
			if server {
				args = serverArgs(args)
			}
			var err error
			if f.changes, err = a.assignments(args[1:]); err != nil {
				return err
			}
			return configChange(a, server, args, f)
		}})
	f.declare(cmd, "Set")
	return cmd
}

func configUnset(a *App) *cobra.Command {
	var f configFlags
	cmd := a.leaf(spec{use: "unset [<remote>:][<instance>] <key>", short: "Unset instance or server configuration keys", least: 1, most: 2,
		complete: a.completeNames("instances"),
		run: func(args []string) error {
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
func configChange(a *App, server bool, args []string, f configFlags) error {
	if err := f.refuse(server); err != nil {
		return err
	}
	if server {
		return changeServer(a, args, f)
	}
	k := instanceKind(a)
	return k.update(args, "", func(p *api.InstancePut) error {
		if f.property {
			return property.Write(p, f.changes)
		}
		if p.Config == nil {
			p.Config = map[string]string{}
		}
		return merge(p.Config, f.changes, f.unset)
	})
}

func changeServer(a *App, args []string, f configFlags) error {
	o, full, err := load(serverKind(a), args, f.target)
	if err != nil {
		return err
	}
	config := texts(full.Config)
	if err := merge(config, f.changes, f.unset); err != nil {
		return err
	}
	return o.server.Apply(a.ctx, put, "/1.0", serverConfig{config}, "")
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

func configShow(a *App) *cobra.Command {
	var f configFlags
	cmd := a.leaf(spec{use: "show [<remote>:][<instance>[/<snapshot>]]", short: "Show instance or server configurations", most: 1,
		complete: a.completeNames("instances"),
		run: func(args []string) error {
			server := onServer(args, 0)
			if err := f.refuse(server); err != nil {
				return err
			}
			if server {
				_, full, err := load(serverKind(a), serverArgs(args), f.target)
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

func showInstance(a *App, arg string, expanded bool) error {
	if strings.Contains(plain(arg), "/") {
		return showSnapshot(a, arg)
	}
	_, inst, err := load(instanceKind(a), []string{arg}, "")
	if err != nil {
		return err
	}
	if expanded {
		inst.Config, inst.Devices = inst.ExpandedConfig, inst.ExpandedDevices
	}
	return render.YAML(a.Out, inst.Writable())
}

func showSnapshot(a *App, arg string) error {
	server, name, err := a.parse(arg)
	if err != nil {
		return err
	}
	var snap api.InstanceSnapshot
	if _, err := server.Get(a.ctx, instancePath([]string{name}), &snap); err != nil {
		return err
	}
	return render.YAML(a.Out, snap)
}

func configEdit(a *App) *cobra.Command {
	var f configFlags
	cmd := a.leaf(spec{use: "edit [<remote>:][<instance>[/<snapshot>]]", short: "Edit instance or server configurations as YAML", most: 1,
		complete: a.completeNames("instances"),
		example:  "lxc config edit c1 < instance.yaml\n    Replace the configuration of c1 by the content of a file",
		run: func(args []string) error {
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

func editServer(a *App, args []string, target string) error {
	o, full, err := load(serverKind(a), args, target)
	if err != nil {
		return err
	}
	save := func(text []byte) error {
		var p serverConfig
		if err := yaml.Unmarshal(text, &p); err != nil {
			return err
		}
		return o.server.Apply(a.ctx, put, "/1.0", p, "")
	}
	if piped, err := a.readIn(); err != nil || len(piped) > 0 {
		if err != nil {
			return err
		}
		return save(piped)
	}
	return a.editYAML(serverHelp, full.Writable(), save)
}

// editInstance edits the writable part: the rest of an instance would only distract.
func editInstance(a *App, arg string) error {
	if strings.Contains(plain(arg), "/") {
		k := &kind[api.InstanceSnapshotPut, api.InstanceSnapshotPut]{app: a, noun: "snapshot", names: 1, path: instancePath}
		return k.editObject([]string{arg}, "")
	}
	k := &kind[api.InstancePut, api.InstancePut]{app: a, noun: "instance", names: 1, path: instancePath, help: instanceHelp}
	return k.editObject([]string{arg}, "")
}

func configMetadata(a *App) *cobra.Command {
	k := &kind[api.ImageMetadata, api.ImageMetadata]{app: a, noun: "instance metadata", words: "[<remote>:]<instance>", names: 1, list: "instances",
		path: func(n []string) string { return client.Path("instances", n[0], "metadata") }}
	return branch("metadata", "Manage instance metadata files", k.edit(), k.show())
}
