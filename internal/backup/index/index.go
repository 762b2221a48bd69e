// Package index reads and writes what a backup says of itself: index.yaml, and backup.yaml, which is the greater part of it.
package index

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/internal/errs"
)

// Index is index.yaml.
type Index struct {
	// Name is that of the instance; Backend and Pool are where its root was.
	Name    string `yaml:"name"`
	Backend string `yaml:"backend"`
	Pool    string `yaml:"pool"`
	// Snapshots are the names of those that the backup holds, the oldest first.
	Snapshots []string `yaml:"snapshots,omitempty"`
	// Optimized says that the content is in a format of the backend's own; Header that optimized_header.yaml belongs to it.
	Optimized bool    `yaml:"optimized"`
	Header    bool    `yaml:"optimized_header"`
	Type      string  `yaml:"type"`
	Config    *Config `yaml:"config"`
}

// Config is backup.yaml: what is backed up, as the API shows it. Its older form has one instance, pool and volume, the newer lists of them.
type Config struct {
	Version         int                         `yaml:"version,omitempty"`
	Instance        *api.Instance               `yaml:"instance,omitempty"`
	Container       *api.Instance               `yaml:"container,omitempty"`
	Snapshots       []api.InstanceSnapshot      `yaml:"snapshots"`
	Pools           []api.StoragePool           `yaml:"pools,omitempty"`
	Pool            *api.StoragePool            `yaml:"pool,omitempty"`
	Profiles        []api.Profile               `yaml:"profiles,omitempty"`
	Volumes         []Volume                    `yaml:"volumes,omitempty"`
	Volume          *api.StorageVolume          `yaml:"volume,omitempty"`
	VolumeSnapshots []api.StorageVolumeSnapshot `yaml:"volume_snapshots,omitempty"`
}

// Volume is a volume with its snapshots.
type Volume struct {
	api.StorageVolume `yaml:",inline"`
	Snapshots         []api.StorageVolumeSnapshot `yaml:"snapshots"`
}

// Versions of Config.
const (
	Old     = 1
	Current = 2
)

// Max bounds index.yaml.
const Max = 1 << 20

// depth bounds how deep it may be nested; what is written here needs 6.
const depth = 20

// Parse reads an index.yaml that may come from anywhere: whatever is wrong with it is Invalid.
func Parse(r io.Reader) (Index, error) {
	var i Index
	b, err := io.ReadAll(io.LimitReader(r, Max+1))
	if err != nil {
		return i, err
	}
	if len(b) > Max {
		return i, errs.Newf(errs.Invalid, "index.yaml is larger than %d MiB", Max>>20)
	}
	err = Decode(b, &i)
	if errors.Is(err, io.EOF) {
		return i, errs.Newf(errs.Invalid, "index.yaml is empty")
	}
	if err != nil {
		return i, errs.Newf(errs.Invalid, "index.yaml cannot be read: %w", err)
	}
	return i, i.check()
}

// Decode reads YAML that may come from anywhere.
func Decode(b []byte, into any) error {
	if len(b) > Max {
		return errs.Newf(errs.Invalid, "it is larger than %d MiB", Max>>20)
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&doc); err != nil {
		return err
	}
	if err := simple(&doc, 0); err != nil {
		return err
	}
	return doc.Decode(into)
}

// simple refuses what can make a small text large in memory.
func simple(n *yaml.Node, level int) error {
	if level > depth {
		return errs.Newf(errs.Invalid, "line %d: it is nested more than %d levels deep", n.Line, depth)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return errs.Newf(errs.Invalid, "line %d: anchors and aliases are not allowed in it", n.Line)
	}
	for _, c := range n.Content {
		if err := simple(c, level+1); err != nil {
			return err
		}
	}
	return nil
}

// check brings the older form into the newer.
func (i *Index) check() error {
	if i.Type == "" {
		i.Type = string(api.InstanceTypeContainer)
	}
	c := i.Config
	switch {
	case c == nil:
		return errs.Newf(errs.Invalid, "index.yaml says nothing of the configuration: the backup was made by a server that is too old")
	case c.Version > Current:
		return errs.Newf(errs.Invalid, "the backup is of version %d of the format: this server knows %d to %d", c.Version, Old, Current)
	}
	if c.Instance == nil {
		c.Instance, c.Container = c.Container, nil
	}
	if i.Type != "custom" && c.Instance == nil {
		return errs.Newf(errs.Invalid, "index.yaml describes no instance")
	}
	if c.Instance != nil {
		for n, s := range c.Snapshots {
			c.Snapshots[n].Name = strings.TrimPrefix(s.Name, c.Instance.Name+"/")
		}
	}
	return nil
}

// Marshal writes an index.yaml.
func (i Index) Marshal() ([]byte, error) {
	b, err := yaml.Marshal(i)
	if err == nil && len(b) > Max {
		return nil, errs.Newf(errs.Invalid, "the description of the instance is larger than %d MiB: make its configuration or that of its snapshots smaller", Max>>20)
	}
	return b, err
}

// Marshal writes a backup.yaml.
func (c Config) Marshal() ([]byte, error) { return yaml.Marshal(c) }

// Content is what a Config describes.
type Content struct {
	Instance  api.Instance
	Snapshots []api.InstanceSnapshot
	Profiles  []api.Profile
	Pool      api.StoragePool
	Volume    Volume
}

// Config is the description in the given version.
func (c Content) Config(version int) *Config {
	if c.Snapshots == nil {
		c.Snapshots = []api.InstanceSnapshot{}
	}
	if version == Old {
		return &Config{Container: &c.Instance, Snapshots: c.Snapshots, Pool: &c.Pool, Profiles: c.Profiles, Volume: &c.Volume.StorageVolume, VolumeSnapshots: c.Volume.Snapshots}
	}
	return &Config{Version: version, Instance: &c.Instance, Snapshots: c.Snapshots, Pools: []api.StoragePool{c.Pool}, Profiles: c.Profiles, Volumes: []Volume{c.Volume}}
}
