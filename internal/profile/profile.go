// Package profile holds profiles: named sets of configuration and devices that instances are composed of.
package profile

import (
	"cmp"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Devices maps a device's name to its configuration.
type Devices = map[string]map[string]string

// Record is a profile as stored.
type Record struct {
	Project     string            `json:"project"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
	Devices     Devices           `json:"devices,omitempty"`
	// NetworkProject is the project whose networks the devices name.
	NetworkProject string `json:"network_project"`
	// VolumeProject is the project whose custom volumes the devices name.
	VolumeProject string `json:"volume_project,omitempty"`
}

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: "profile",
	Key:  func(r Record) string { return Key(r.Project, r.Name) },
	Refs: func(r Record) []store.Ref {
		return append(DeviceRefs(Owners{Network: r.NetworkProject, Volume: r.VolumeProject}, r.Devices), project.Ref(r.Project))
	},
}

// Key is a record's key.
func Key(project, name string) string { return project + "/" + name }

// Owners are the projects whose things devices name.
type Owners struct{ Network, Volume string }

// DeviceRefs are the pools, custom volumes and managed networks that devices need, each once.
func DeviceRefs(o Owners, devices Devices) (refs []store.Ref) {
	seen := map[store.Ref]bool{}
	for _, cfg := range devices {
		for _, r := range deviceRefs(o, cfg) {
			if !seen[r] {
				seen[r] = true
				refs = append(refs, r)
			}
		}
	}
	return refs
}

func deviceRefs(o Owners, cfg map[string]string) []store.Ref {
	switch {
	case cfg["type"] == "disk" && cfg["pool"] != "":
		return append(volumeRefs(o, cfg), store.Ref{Collection: "storage_pool", Key: cfg["pool"]})
	case cfg["type"] == "nic" && cfg["network"] != "":
		return []store.Ref{{Collection: "network", Key: o.Network + "/" + cfg["network"]}}
	}
	return nil
}

// volumeRefs are the volume that a disk shows, and the snapshot if it shows one.
func volumeRefs(o Owners, cfg map[string]string) []store.Ref {
	name, snapshot := DiskSource(cfg)
	if name == "" {
		return nil
	}
	key := strings.Join([]string{cfg["pool"], cmp.Or(cfg["source.type"], "custom"), cmp.Or(o.Volume, project.Default), name}, "/")
	refs := []store.Ref{{Collection: "storage_volume", Key: key}}
	if snapshot != "" {
		refs = append(refs, store.Ref{Collection: "storage_volume_snapshot", Key: key + "/" + snapshot})
	}
	return refs
}

// DiskSource is the name of the custom volume that a disk with a pool shows, and of the snapshot of it. Older clients name both in source.
func DiskSource(cfg map[string]string) (name, snapshot string) {
	name, snapshot, _ = strings.Cut(cfg["source"], "/")
	return name, cmp.Or(cfg["source.snapshot"], snapshot)
}

// Expand composes what an instance is made of: the profiles in order, then its own configuration and devices. A later device
// replaces an earlier one of the same name as a whole. An own device of type "none" takes one away.
func Expand(profiles []Record, config map[string]string, devices Devices) (map[string]string, Devices) {
	cfg, dev := map[string]string{}, Devices{}
	lay := func(c map[string]string, d Devices) {
		for k, v := range c {
			cfg[k] = v
		}
		for name, v := range d {
			dev[name] = v
		}
	}
	for _, p := range profiles {
		lay(p.Config, p.Devices)
	}
	lay(config, devices)
	return cfg, dev
}

// API is the record as clients see it.
func (r Record) API(usedBy []string) api.Profile {
	p := api.Profile{Name: r.Name, Project: r.Project, Description: r.Description, Config: r.Config, Devices: r.Devices, UsedBy: usedBy}
	if p.Config == nil {
		p.Config = map[string]string{}
	}
	if p.Devices == nil {
		p.Devices = Devices{}
	}
	if p.UsedBy == nil {
		p.UsedBy = []string{}
	}
	return p
}

// ETag is the part of the record that If-Match guards.
func (r Record) ETag() any {
	p := r.API(nil)
	return []any{p.Config, p.Description, p.Devices}
}

// URL is the profile's address.
func (r Record) URL() string { return project.URL(r.Project, "profiles", r.Name) }

// CheckName fails with Invalid on a name that a profile may not have.
func CheckName(name string) error {
	switch {
	case name == "":
		return errs.Newf(errs.Invalid, "profile name is missing")
	case name == "." || name == "..":
		return errs.Newf(errs.Invalid, "profile name %q is reserved", name)
	case len(name) > 200:
		return errs.Newf(errs.Invalid, "profile name is longer than 200 characters")
	case strings.ContainsAny(name, "/\\?#%&+\"'* \t"):
		return errs.Newf(errs.Invalid, "profile name %q has a slash, space, quote or other special character in it", name)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return errs.Newf(errs.Invalid, "profile name %q has a control character in it", name)
		}
	}
	return nil
}

func change(action string, r Record) event.Change {
	return event.Change{Action: action, Source: project.URL("", "profiles", r.Name), Project: r.Project, Name: r.Name}
}
