package policy

import (
	"maps"
	"strings"

	"lxd/api"
	"lxd/internal/image"
	"lxd/internal/instance"
	"lxd/internal/network"
	"lxd/internal/network/forward"
	"lxd/internal/profile"
	"lxd/internal/project/limit"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// gathering is one look at the objects of a project.
type gathering struct {
	tx   store.Tx
	name string
	s    *scope
	// counted says that all objects are wanted, not only those in the scope.
	counted bool
	// layers remembers the profiles that were looked up.
	layers map[string]profile.Record
	o      limit.Objects
}

// gather finds the objects of a project that its configuration is to be held against.
func gather(tx store.Tx, name string, config map[string]string, s *scope) (limit.Objects, error) {
	g := &gathering{tx: tx, name: name, s: s, counted: s.count || limit.Counts(config), layers: map[string]profile.Record{}}
	g.o.Snapshots, g.o.Backups = s.madeSnapshots, s.madeBackups
	parts := []func() error{g.instances, g.profiles, g.networks}
	if s.count || needs(config, "limits.disk") {
		parts = append(parts, g.volumes, g.images)
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return limit.Objects{}, err
		}
	}
	return g.o, nil
}

func needs(config map[string]string, prefix string) bool {
	for key, v := range config {
		if v != "" && strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

func (g *gathering) instances() error {
	if g.counted || g.s.whole {
		for e, r := range instance.Collection.AllRev(g.tx, g.name+"/") {
			if err := g.instance(e.Key, r); err != nil {
				return err
			}
		}
		return nil
	}
	for key := range g.s.instances {
		if !instance.Collection.Has(g.tx, key) {
			continue
		}
		r, err := instance.Collection.Get(g.tx, key)
		if err != nil {
			return err
		}
		if err := g.instance(key, r); err != nil {
			return err
		}
	}
	return nil
}

func (g *gathering) instance(key string, r instance.Record) error {
	layers := make([]profile.Record, 0, len(r.Profiles))
	for _, name := range r.Profiles {
		at := profile.Key(r.ProfileProject, name)
		p, known := g.layers[at]
		if !known {
			var err error
			if p, err = profile.Collection.Get(g.tx, at); err != nil {
				return err
			}
			g.layers[at] = p
		}
		layers = append(layers, p)
	}
	config, devices := profile.Expand(layers, r.Config, r.Devices)
	maps.DeleteFunc(devices, func(_ string, cfg map[string]string) bool { return cfg["type"] == "none" })
	g.o.Instances = append(g.o.Instances, limit.Instance{
		Name: r.Name, VM: r.Type == api.InstanceTypeVirtualMachine, Config: config, Devices: devices, Settled: !g.s.whole && !g.s.instances[key],
	})
	return nil
}

func (g *gathering) profiles() error {
	if !g.s.whole && len(g.s.profiles) == 0 {
		return nil
	}
	for e, r := range profile.Collection.AllRev(g.tx, g.name+"/") {
		if g.s.whole || g.s.profiles[e.Key] {
			g.o.Profiles = append(g.o.Profiles, limit.Profile{Name: r.Name, Config: r.Config, Devices: r.Devices})
		}
	}
	return nil
}

func (g *gathering) networks() error {
	if !g.counted && !g.s.whole && len(g.s.networks) == 0 {
		return nil
	}
	for e, r := range network.Collection.AllRev(g.tx, g.name+"/") {
		n := limit.Network{Name: r.Name, Type: r.Type, Config: r.Config, Settled: !g.s.whole && !g.s.networks[e.Key]}
		if r.Config["network"] != "" {
			n.Addresses4, n.Addresses6 = uplinkAddresses(g.tx, r)
		}
		g.o.Networks = append(g.o.Networks, n)
	}
	return nil
}

// uplinkAddresses counts what a network takes of its uplink: the address of its router, and those that it forwards.
func uplinkAddresses(tx store.Tx, r network.Record) (v4, v6 int64) {
	v4, v6 = 1, 1
	for _, f := range forward.Collection.AllRev(tx, network.Key(r.Project, r.Name)+"/") {
		if strings.Contains(f.Listen, ":") {
			v6++
		} else {
			v4++
		}
	}
	return v4, v6
}

func (g *gathering) volumes() error {
	g.o.Sizes = map[string]string{}
	for _, pool := range storage.Pools.AllRev(g.tx, "") {
		g.o.Sizes[pool.Name] = pool.Config["volume.size"]
		for _, v := range storage.Volumes.AllRev(g.tx, storage.CustomKey(pool.Name, g.name, "")) {
			g.o.Volumes = append(g.o.Volumes, limit.Volume{Name: v.Name, Pool: v.Pool, Size: v.Config["size"]})
		}
	}
	return nil
}

func (g *gathering) images() error {
	for _, r := range image.Collection.AllRev(g.tx, image.Key(g.name, "")) {
		g.o.Images += r.Size
	}
	return nil
}
