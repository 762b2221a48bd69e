// Package conf reads and writes config.yml, in which lxc keeps its remotes and aliases.
package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Local is the name of the remote that is the daemon's unix socket.
const Local = "local"

// Remote is a server that lxc knows by a short name.
type Remote struct {
	Addr     string `yaml:"addr" json:"Addr"`
	AuthType string `yaml:"auth_type,omitempty" json:"AuthType"`
	Project  string `yaml:"project,omitempty" json:"Project"`
	Protocol string `yaml:"protocol,omitempty" json:"Protocol"`
	Public   bool   `yaml:"public" json:"Public"`
	Global   bool   `yaml:"-" json:"Global"`
	Static   bool   `yaml:"-" json:"Static"`
}

// Config is the content of config.yml together with what is built in.
type Config struct {
	// DefaultRemote is meant where a command names no remote.
	DefaultRemote string `yaml:"default-remote"`
	// Remotes are the servers, by name.
	Remotes map[string]Remote `yaml:"remotes"`
	// Aliases are the user's commands: what is typed, and what is run for it.
	Aliases map[string]string `yaml:"aliases"`

	dir string
}

// builtin are the remotes that need no configuration and cannot be changed.
func builtin() map[string]Remote {
	simple := func(addr string) Remote {
		return Remote{Addr: addr, Protocol: "simplestreams", Public: true, Static: true}
	}
	return map[string]Remote{
		Local:                  {Addr: "unix://", Static: true},
		"ubuntu":               simple("https://cloud-images.ubuntu.com/releases/"),
		"ubuntu-daily":         simple("https://cloud-images.ubuntu.com/daily/"),
		"ubuntu-minimal":       simple("https://cloud-images.ubuntu.com/minimal/releases/"),
		"ubuntu-minimal-daily": simple("https://cloud-images.ubuntu.com/minimal/daily/"),
	}
}

// Dir is the directory of the configuration: $LXD_CONF, or lxc in the user's configuration directory.
func Dir() (string, error) {
	if dir := os.Getenv("LXD_CONF"); dir != "" {
		return dir, nil
	}
	base, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the configuration directory (set LXD_CONF to name one): %w", err)
	}
	return filepath.Join(base, "lxc"), nil
}

// Load reads the configuration in dir; what is missing there, or a dir that is missing, gives the defaults.
func Load(dir string) (*Config, error) {
	c := &Config{dir: dir, DefaultRemote: Local, Remotes: map[string]Remote{}, Aliases: map[string]string{}}
	data, err := os.ReadFile(c.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(data) > 0 {
		if err := yaml.Unmarshal(data, c); err != nil {
			return nil, fmt.Errorf("reading %s: %w", c.path(), err)
		}
	}
	if c.Remotes == nil {
		c.Remotes = map[string]Remote{}
	}
	if c.Aliases == nil {
		c.Aliases = map[string]string{}
	}
	if _, ok := c.Remotes["images"]; !ok {
		c.Remotes["images"] = Remote{Addr: "https://images.lxd.canonical.com", Protocol: "simplestreams", Public: true}
	}
	for name, r := range builtin() {
		r.Project = c.Remotes[name].Project // all that a user may choose of a remote that is built in
		c.Remotes[name] = r
	}
	return c, nil
}

func (c *Config) path() string { return filepath.Join(c.dir, "config.yml") }

// Save writes the configuration, without what is built in and not touched.
func (c *Config) Save() error {
	out := *c
	out.Remotes = maps.Clone(c.Remotes)
	maps.DeleteFunc(out.Remotes, func(_ string, r Remote) bool { return r.Static && r.Project == "" || r.Global })
	data, err := yaml.Marshal(&out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return fmt.Errorf("saving the configuration: %w", err)
	}
	next := c.path() + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("saving the configuration: %w", err)
	}
	return os.Rename(next, c.path())
}

// Parse splits "remote:name"; without a remote the default one is meant. Unknown remotes are an error.
func (c *Config) Parse(arg string) (remote, name string, err error) {
	remote, name, found := strings.Cut(arg, ":")
	if !found {
		return c.DefaultRemote, arg, nil
	}
	if _, ok := c.Remotes[remote]; !ok {
		return "", "", fmt.Errorf("The remote \"%s\" doesn't exist", remote)
	}
	return remote, name, nil
}

// Use makes commands on remote use a project from now on; empty is the one that the server has for those who do not choose.
func (c *Config) Use(remote, project string) error {
	r, ok := c.Remotes[remote]
	if !ok {
		return fmt.Errorf("Remote %s doesn't exist", remote)
	}
	r.Project = project
	c.Remotes[remote] = r
	return c.Save()
}

// Editable returns remote name if it exists and may be changed.
func (c *Config) Editable(name string) (Remote, error) {
	r, ok := c.Remotes[name]
	switch {
	case !ok:
		return r, fmt.Errorf("Remote %s doesn't exist", name)
	case r.Static:
		return r, fmt.Errorf("Remote %s is static and cannot be modified", name)
	}
	return r, nil
}

// Free fails if a remote cannot get that name.
func (c *Config) Free(name string) error {
	if r, ok := c.Remotes[name]; ok {
		return fmt.Errorf("Remote %s exists as <%s>", name, r.Addr)
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, ":/ \t\n") {
		return fmt.Errorf("Remote name %q is not possible: it may not be empty, and have no colon, slash or blank in it", name)
	}
	return nil
}

// Forget removes what is kept of a remote besides its entry.
func (c *Config) Forget(name string) error {
	for _, path := range c.kept(name) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what is kept of the server: %w", err)
		}
	}
	return nil
}

// Move gives what is kept of a remote to another name.
func (c *Config) Move(from, to string) error {
	there := c.kept(to)
	for i, path := range c.kept(from) {
		if err := os.Rename(path, there[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("renaming what is kept of the server: %w", err)
		}
	}
	return nil
}

// kept are the files that are kept of a remote.
func (c *Config) kept(name string) []string {
	return []string{c.ServerCertificate(name), c.Tokens(name)}
}

// Tokens is where the tokens are kept that prove who the user is to remote name.
func (c *Config) Tokens(name string) string { return filepath.Join(c.dir, "oidctokens", name+".json") }

// ServerCertificate is where the pinned certificate of remote name is kept.
func (c *Config) ServerCertificate(name string) string {
	return filepath.Join(c.dir, "servercerts", name+".crt")
}

// ClientCertificate is where the client's own certificate and key are kept.
func (c *Config) ClientCertificate() (cert, key string) {
	return filepath.Join(c.dir, "client.crt"), filepath.Join(c.dir, "client.key")
}

// Authority is where the certificate of the authority that all servers must have theirs from is kept, and its list of revoked ones.
func (c *Config) Authority() (cert, revoked string) {
	return filepath.Join(c.dir, "client.ca"), filepath.Join(c.dir, "client.crl")
}
