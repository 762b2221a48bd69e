package storage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Statuses of a pool (wire names).
const (
	pending     = "Pending"
	created     = "Created"
	unavailable = "Unavailable"
)

// PoolRecord is a pool as stored.
type PoolRecord struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Driver      string            `json:"driver"`
	Config      map[string]string `json:"config,omitempty"`
	// Status is pending while the pool is being made and created afterwards.
	Status string `json:"status"`
	// Deleting says that the pool is on its way out: nothing new may be made in it.
	Deleting bool `json:"deleting,omitempty"`
}

// Pools is where the pool records live.
var Pools = store.Collection[PoolRecord]{Name: "storage_pool", Key: func(r PoolRecord) string { return r.Name }}

// VolumeRecord is a volume as stored.
type VolumeRecord struct {
	Pool        string            `json:"pool"`
	Type        VolumeType        `json:"type"`
	Project     string            `json:"project"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	ContentType string            `json:"content_type"`
	Config      map[string]string `json:"config,omitempty"`
	Location    string            `json:"location,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
}

// Volumes is where the volume records live. Those of an image are in the default project: all projects share its one unpacked tree.
var Volumes = store.Collection[VolumeRecord]{
	Name: "storage_volume",
	Key:  func(r VolumeRecord) string { return volumeKey(r.Pool, r.Type, r.Project, r.Name) },
	Refs: func(r VolumeRecord) []store.Ref {
		return []store.Ref{{Collection: Pools.Name, Key: r.Pool}, project.Ref(r.Project)}
	},
}

// SnapshotRecord is a snapshot of a custom volume as stored.
type SnapshotRecord struct {
	Pool        string            `json:"pool"`
	Project     string            `json:"project"`
	Volume      string            `json:"volume"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	ContentType string            `json:"content_type"`
	Config      map[string]string `json:"config,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	// ExpiresAt is when it is deleted; the zero time is never.
	ExpiresAt time.Time `json:"expires_at"`
}

// Snapshots is where the snapshots of custom volumes live.
var Snapshots = store.Collection[SnapshotRecord]{
	Name: "storage_volume_snapshot",
	Key:  func(r SnapshotRecord) string { return r.VolumeKey() + "/" + r.Name },
	Refs: func(r SnapshotRecord) []store.Ref {
		return []store.Ref{{Collection: Pools.Name, Key: r.Pool}, {Collection: Volumes.Name, Key: r.VolumeKey()}}
	},
}

// VolumeKey is the key of the volume's record.
func (r SnapshotRecord) VolumeKey() string {
	return volumeKey(r.Pool, CustomVolume, r.Project, r.Volume)
}

// URL is the snapshot's address.
func (r SnapshotRecord) URL() string {
	return project.URL(r.Project, "storage-pools", r.Pool, "volumes", string(CustomVolume), r.Volume, "snapshots", r.Name)
}

// SnapshotsOf are the snapshots of the volume of that key, the oldest first.
func SnapshotsOf(tx store.Tx, key string) (all []SnapshotRecord) {
	for _, s := range Snapshots.AllRev(tx, key+"/") {
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b SnapshotRecord) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all
}

// CustomKey is the key of a custom volume's record.
func CustomKey(pool, proj, name string) string { return volumeKey(pool, CustomVolume, proj, name) }

func volumeKey(pool string, t VolumeType, proj, name string) string {
	return pool + "/" + string(t) + "/" + proj + "/" + name
}

// URL is the pool's address.
func (r PoolRecord) URL() string { return project.URL("", "storage-pools", r.Name) }

// URL is the volume's address.
func (r VolumeRecord) URL() string {
	return project.URL(r.Project, "storage-pools", r.Pool, "volumes", string(r.Type), r.Name)
}

// standalone is the location on a server that is not clustered (wire name).
const standalone = "none"

// API is the record as clients see it; status may differ from the stored one.
func (r PoolRecord) API(status, location string, usedBy []string) api.StoragePool {
	p := api.StoragePool{Name: r.Name, Description: r.Description, Driver: r.Driver, Status: status, Config: maps.Clone(r.Config),
		UsedBy: usedBy, Locations: []string{cmp.Or(location, standalone)}}
	if p.Config == nil {
		p.Config = map[string]string{}
	}
	return p
}

// ETag is the part of the record that If-Match guards.
func (r PoolRecord) ETag() any {
	p := r.API("", "", nil)
	return []any{p.Name, p.Driver, p.Description, p.Config}
}

// API is the record as clients see it.
func (r VolumeRecord) API(tx store.Tx) api.StorageVolume {
	v := r.plain()
	v.UsedBy = r.usedBy(tx)
	return v
}

// asVolume is the snapshot as lists of volumes show it.
func (r SnapshotRecord) asVolume(location string) api.StorageVolume {
	return VolumeRecord{Pool: r.Pool, Type: CustomVolume, Project: r.Project, Name: r.Volume + "/" + r.Name, Description: r.Description,
		ContentType: r.ContentType, Config: r.Config, Location: location, CreatedAt: r.CreatedAt}.plain()
}

// plain is the record as clients see it but for what uses it.
func (r VolumeRecord) plain() api.StorageVolume {
	v := api.StorageVolume{Name: r.Name, Description: r.Description, Type: string(r.Type), Pool: r.Pool, ContentType: r.ContentType,
		Project: r.Project, Location: r.Location, CreatedAt: r.CreatedAt, Config: maps.Clone(r.Config), UsedBy: []string{}}
	if v.Config == nil {
		v.Config = map[string]string{}
	}
	return v
}

// usedBy is the instance or image that the volume belongs to, or what shows a custom one.
func (r VolumeRecord) usedBy(tx store.Tx) []string {
	if r.Type == CustomVolume {
		return project.UsedBy(Users(tx, Volumes.Key(r)))
	}
	return r.owner()
}

// Users are the instances and profiles that refer to the volume of that key.
func Users(tx store.Tx, key string) []store.Ref {
	return slices.DeleteFunc(Volumes.UsedBy(tx, key), func(u store.Ref) bool { return strings.HasPrefix(u.Collection, Volumes.Name) })
}

// owner is the instance or image that the volume belongs to.
func (r VolumeRecord) owner() []string {
	switch r.Type {
	case ContainerVolume, VMVolume:
		return []string{project.URL(r.Project, "instances", r.Name)}
	case ImageVolume:
		return []string{project.URL(r.Project, "images", r.Name)}
	}
	return []string{}
}

// ETag is the part of the record that If-Match guards.
func (r VolumeRecord) ETag() any {
	v := r.plain()
	return []any{v.Name, v.Type, v.Config}
}

// users are the addresses of what uses a pool: a volume counts as the instance or image that it belongs to.
func users(tx store.Tx, pool string) []string {
	out, seen := []string{}, map[string]bool{}
	var refs []store.Ref
	for _, r := range Pools.UsedBy(tx, pool) {
		if r.Collection != Volumes.Name {
			refs = append(refs, r)
			continue
		}
		v, err := Volumes.Get(tx, r.Key)
		switch {
		case err != nil:
		case v.Type == CustomVolume:
			refs = append(refs, r)
		case !seen[v.owner()[0]]:
			seen[v.owner()[0]] = true
			out = append(out, v.owner()[0])
		}
	}
	for _, u := range project.UsedBy(refs) {
		if !seen[u] {
			seen[u] = true
			out = append(out, u)
		}
	}
	return out
}

// checkPoolName fails with Invalid on a name that a pool may not have: it becomes the name of a folder.
func checkPoolName(name string) error {
	const most = 63
	if name == "" {
		return errs.Newf(errs.Invalid, "storage pool name is missing")
	}
	if len(name) > most {
		return errs.Newf(errs.Invalid, "storage pool name is longer than %d characters", most)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '-' && r != '_' && r != '.') {
			return errs.Newf(errs.Invalid, "storage pool name %q may only have letters, digits, and after the first character also - _ and .", name)
		}
	}
	return nil
}

func poolChange(action string, r PoolRecord) event.Change {
	return event.Change{Action: action, Source: r.URL(), Name: r.Name}
}
