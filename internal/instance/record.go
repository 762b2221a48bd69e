// Package instance holds the rules of instances: what they are made of, and how they are created, started, changed, stopped and
// removed. It reaches volumes, images and machines through the interfaces in service.go.
package instance

import (
	"maps"
	"time"

	"lxd/api"
	"lxd/internal/device"
	"lxd/internal/machine"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// Devices maps a device's name to its configuration.
type Devices = profile.Devices

// Record is an instance as stored.
type Record struct {
	Project      string            `json:"project"`
	Name         string            `json:"name"`
	Location     string            `json:"location,omitempty"`
	Description  string            `json:"description,omitempty"`
	Type         api.InstanceType  `json:"type"`
	Architecture string            `json:"architecture"`
	Ephemeral    bool              `json:"ephemeral,omitempty"`
	Stateful     bool              `json:"stateful,omitempty"`
	Profiles     []string          `json:"profiles,omitempty"`
	Config       map[string]string `json:"config,omitempty"`
	Devices      Devices           `json:"devices,omitempty"`
	CreatedAt    time.Time         `json:"created_at"`
	LastUsedAt   time.Time         `json:"last_used_at"`
	// ProfileProject, NetworkProject and VolumeProject are the projects whose profiles, networks and custom volumes the instance names.
	ProfileProject string `json:"profile_project"`
	NetworkProject string `json:"network_project"`
	VolumeProject  string `json:"volume_project,omitempty"`
	// Pool holds the root volume. It is decided at creation.
	Pool string `json:"pool,omitempty"`
	// Privileged says that the files on disk belonged to the ids that they have inside when the instance was made.
	Privileged bool `json:"privileged,omitempty"`
	// Making is set until the root volume is complete.
	Making bool `json:"making,omitempty"`
	// Wanted is set on a stopped instance that is to be started as soon as the daemon is up.
	Wanted bool `json:"wanted,omitempty"`
	// Run is what is known of the running machine; nil means stopped.
	Run *Run `json:"run,omitempty"`
}

// Run is what a restarted daemon needs to find a running machine again, or to clean up after it.
type Run struct {
	Handle machine.Handle `json:"handle"`
	// Boot identifies the boot of the host that the machine runs in.
	Boot string `json:"boot,omitempty"`
	// Devices is how the attached devices were configured.
	Devices Devices `json:"devices,omitempty"`
	// Volatile is what the devices need to be detached; clients cannot change it.
	Volatile map[string]string `json:"volatile,omitempty"`
	// Root is where the root volume is.
	Root string `json:"root,omitempty"`
	// Placed is what the machine was given by each device, to be taken away with it.
	Placed map[string]Placed `json:"placed,omitempty"`
	// Plugging is the device that is being attached: it may be there in part.
	Plugging string `json:"plugging,omitempty"`
	// Held says that the machine was frozen for a moment by the server: whoever takes it up thaws it.
	Held bool `json:"held,omitempty"`
	// IDMap is the id map that the machine has, if Mapped; none then means privileged.
	IDMap  []machine.IDRange `json:"idmap,omitempty"`
	Mapped bool              `json:"mapped,omitempty"`
	// CPUs is the set of CPUs that the machine was given.
	CPUs string `json:"cpus,omitempty"`
}

// Placed is what a device has put into a machine.
type Placed struct {
	Mounts []device.Mount `json:"mounts,omitempty"`
	Nodes  []device.Node  `json:"nodes,omitempty"`
	// Throttles are limits that go with it.
	Throttles []device.Throttle `json:"throttles,omitempty"`
}

// clone is a copy whose maps are its own, and not nil.
func (r Run) clone() Run {
	r.Devices, r.Placed, r.Volatile = maps.Clone(r.Devices), maps.Clone(r.Placed), merged(r.Volatile, nil)
	if r.Devices == nil {
		r.Devices = Devices{}
	}
	if r.Placed == nil {
		r.Placed = map[string]Placed{}
	}
	return r
}

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: "instance",
	Key:  func(r Record) string { return Key(r.Project, r.Name) },
	Refs: Record.refs,
}

// Key is a record's key.
func Key(project, name string) string { return project + "/" + name }

func (r Record) key() string { return Key(r.Project, r.Name) }

// refs are what must exist as long as the instance does.
func (r Record) refs() []store.Ref {
	refs := append(profile.DeviceRefs(profile.Owners{Network: r.NetworkProject, Volume: r.VolumeProject}, r.Devices), project.Ref(r.Project))
	pool := store.Ref{Collection: "storage_pool", Key: r.Pool}
	seen := map[store.Ref]bool{{}: true}
	for _, ref := range refs {
		seen[ref] = true
	}
	if r.Pool != "" && !seen[pool] {
		refs = append(refs, pool)
	}
	for _, p := range r.Profiles {
		ref := store.Ref{Collection: profile.Collection.Name, Key: profile.Key(r.ProfileProject, p)}
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	return refs
}

// settleOwners finds out whose profiles, networks and custom volumes an instance of that project names.
func (r *Record) settleOwners(tx store.Tx) (err error) {
	for feature, owner := range map[project.Feature]*string{
		project.Profiles: &r.ProfileProject, project.Networks: &r.NetworkProject, project.Volumes: &r.VolumeProject,
	} {
		if *owner, err = project.Owner(tx, r.Project, feature); err != nil {
			return err
		}
	}
	return nil
}

// moveTo makes the record of a snapshot one of the instance to.
func (r *Record) moveTo(to Record) {
	r.Devices = rooted(r.Devices, r.Pool, to)
	r.Project, r.Name, r.Location, r.Pool = to.Project, to.Name, to.Location, to.Pool
	r.ProfileProject, r.NetworkProject, r.VolumeProject = to.ProfileProject, to.NetworkProject, to.VolumeProject
}

// URL is the instance's address.
func (r Record) URL() string { return project.URL(r.Project, "instances", r.Name) }

// entity is the instance as warnings know it.
func (r Record) entity() warning.Entity { return warning.Entity{Project: r.Project, URL: r.URL()} }

// ID names the instance's machine and its folders on this host.
func (r Record) ID() string { return r.Project + "_" + r.Name }

// lock is the name under which operations on the instance exclude each other.
func (r Record) lock() string { return Lock(r.Project, r.Name) }

// Lock is the name under which operations on an instance exclude each other.
func Lock(project, name string) string { return "instance " + project + "/" + name }
