// Package device holds the commands for the devices of instances and profiles.
package device

import (
	"strings"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// InstanceHelp is the head of the text that editing an instance opens.
const InstanceHelp = `This is the instance as YAML; lines that start with # are ignored.

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

// InstanceKind is what instances are to the commands that all objects share.
func InstanceKind(a *command.App) *command.Kind[api.Instance, api.InstancePut] {
	return &command.Kind[api.Instance, api.InstancePut]{
		App: a, Noun: "instance", Words: "[<remote>:]<instance>", Names: 1, Help: InstanceHelp, Newline: true,
		Path:     InstancePath,
		Writable: func(i *api.Instance) api.InstancePut { return i.Writable() },
		Settings: func(p *api.InstancePut) *map[string]string { return &p.Config },
	}
}

// InstancePath is the URL of an instance, or of a snapshot given as instance/snapshot.
func InstancePath(n []string) string {
	if inst, snap, ok := strings.Cut(n[0], "/"); ok {
		return client.Path("instances", inst, "snapshots", snap)
	}
	return client.Path("instances", n[0])
}

const profileHelp = `This is the profile as YAML; lines that start with # are ignored.

It holds configuration keys and devices, for example:
  config:
    limits.memory: 1GiB
  devices:
    eth0:
      name: eth0
      network: lxdbr0
      type: nic

The name is shown and cannot be changed here.`

// ProfileKind is what profiles are to the commands that all objects share.
func ProfileKind(a *command.App) *command.Kind[api.Profile, api.ProfilePut] {
	return &command.Kind[api.Profile, api.ProfilePut]{
		App: a, Noun: "profile", Words: "[<remote>:]<profile>", Names: 1, Help: profileHelp, Newline: true,
		Path:     func(n []string) string { return client.Path("profiles", n[0]) },
		Writable: func(p *api.Profile) api.ProfilePut { return p.Writable() },
		Settings: func(p *api.ProfilePut) *map[string]string { return &p.Config },
	}
}

// InstanceSet is the devices of instances.
func InstanceSet(a *command.App) Set[api.Instance, api.InstancePut] {
	return Set[api.Instance, api.InstancePut]{Kind: InstanceKind(a), Owner: "instance",
		Devices:   func(p *api.InstancePut) *map[string]map[string]string { return &p.Devices },
		Inherited: func(i *api.Instance, device string) bool { return i.ExpandedDevices[device] != nil }}
}

// ProfileSet is the devices of profiles.
func ProfileSet(a *command.App) Set[api.Profile, api.ProfilePut] {
	return Set[api.Profile, api.ProfilePut]{Kind: ProfileKind(a), Owner: "profile",
		Devices: func(p *api.ProfilePut) *map[string]map[string]string { return &p.Devices }}
}
