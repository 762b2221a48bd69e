// Package storage holds pools and their volumes; backends implement Driver, Pool and whichever optional interfaces they can.
package storage

import (
	"context"
	"io"

	"lxd/internal/host/idmap"
	"lxd/internal/schema"
)

// VolumeType says what a volume is for (wire names).
type VolumeType string

// Volume types.
const (
	ContainerVolume VolumeType = "container"
	VMVolume        VolumeType = "virtual-machine"
	ImageVolume     VolumeType = "image"
	CustomVolume    VolumeType = "custom"
)

// Volume names one volume of a pool. Project is "" for images.
type Volume struct {
	Type          VolumeType
	Project, Name string
	Config        map[string]string
	// IDMap is the shift of the instance that owns the volume; empty means none.
	IDMap []IDRange
	// Plain asks for a tree of its own rather than one stacked on an image (security.nesting).
	Plain bool
	// Source is the name of the image volume that the volume was cloned from, if it still depends on it. Pools report it; what callers
	// set is ignored.
	Source string
	// Snapshot names the snapshot of the volume that is meant; "" is the volume itself. Only pools that are a Snapshotter have any.
	Snapshot string
}

// At is the snapshot of v of that name.
func (v Volume) At(snapshot string) Volume {
	v.Snapshot = snapshot
	return v
}

// IDRange maps Size ids from Inside to Host.
type IDRange = idmap.Range

// Driver is one kind of backend.
type Driver interface {
	// Name is the wire name, such as "dir".
	Name() string
	// Keys are the configuration keys of its pools; VolumeKeys those of its volumes.
	Keys() *schema.Schema
	VolumeKeys() *schema.Schema
	// Open makes the pool of that configuration usable, creating what is missing. dir is the pool's folder below LXD_DIR.
	Open(ctx context.Context, dir string, cfg map[string]string) (Pool, error)
	// Destroy removes an empty pool from the host. A missing one is no error.
	Destroy(ctx context.Context, dir string, cfg map[string]string) error
}

// Pool is one open pool. All methods may be called at the same time for different volumes.
type Pool interface {
	// Create makes v; fill, if not nil, writes its content below root, which is what Mounted.Path will be: rootfs/ and what else there is,
	// with owners as seen inside. Without fill the volume has an empty rootfs. It fails with Conflict if v exists. On failure, and after a
	// crash, nothing is left. An image volume that was deleted while others depended on it comes back as it was, without fill.
	Create(ctx context.Context, v Volume, fill func(ctx context.Context, root string) error) error
	// Delete removes v, mounted or half made or missing: none of these is an error. An image volume that others depend on goes from
	// Volumes at once, and from the host with the last of those.
	Delete(ctx context.Context, v Volume) error
	// Mount makes v's content visible and returns where; mounting twice is one mount. A first mount gives the files the owners of v.IDMap,
	// and the tree its own copy of the bytes if v.Plain asks for it. It fails with NotFound if there is no such volume.
	Mount(ctx context.Context, v Volume) (Mounted, error)
	// Unmount undoes Mount, also after a crash; an unmounted volume is no error.
	Unmount(ctx context.Context, v Volume) error
	// Volumes lists what is there, by type, project and name.
	Volumes(ctx context.Context) ([]Volume, error)
	// Usage is bytes used and total of the pool.
	Usage(ctx context.Context) (used, total uint64, err error)
	// Close lets go of the pool, when what goes on in the background is done; volumes in use stay.
	Close() error
}

// Mounted is where a volume's content is.
type Mounted struct {
	// Path is the volume's folder: rootfs/, metadata.yaml, templates/ are below it.
	Path string
	// Root is the root file system (Path/rootfs) as a machine must use it.
	Root string
	// Shifted says that the owners of the files below Root are host ids already.
	Shifted bool
}

// Versioner is a Driver that knows the version of the tools or the kernel part that it uses.
type Versioner interface {
	Version() string
}

// Defaulter is a Driver that chooses values for keys that the user left open.
type Defaulter interface {
	// Defaults returns cfg with the automatic values of a new pool filled in. It has no effects.
	Defaults(dir string, cfg map[string]string) map[string]string
}

// Updater is a Pool whose configuration means something on the host after it was opened.
type Updater interface {
	// Update acts on a new configuration, which the keys of the driver allow. It fails with Invalid, and changes nothing, where the change
	// is not possible. It can be run again.
	Update(ctx context.Context, cfg map[string]string) error
}

// Inoder is a Pool that counts its files.
type Inoder interface {
	Inodes(ctx context.Context) (used, total uint64, err error)
}

// Cloner makes a volume from another of the same pool without copying its bytes where it can.
type Cloner interface {
	// Clone makes to from from. On failure nothing is left. It reports whether to goes on depending on from.
	Clone(ctx context.Context, from, to Volume) (dependent bool, err error)
}

// Snapshotter keeps what a volume holds. Where it takes a Volume, Pool takes one with Snapshot set: Mount shows it read-only, Delete removes
// it, and deleting a volume deletes its snapshots. A Cloner clones from a snapshot, and to one: both need the volume that it belongs to.
type Snapshotter interface {
	// Snapshot keeps the content of the volume as v.Snapshot. It fails with Conflict if that exists; on failure, and after a crash, nothing
	// is left. The volume may be in use: what is being written at the time is the caller's business.
	Snapshot(ctx context.Context, v Volume) error
	// Restore gives the volume, which must not be in use, the content of v.Snapshot: all of it or, on failure or after a crash, nothing.
	// Snapshots stay. It unmounts the volume.
	Restore(ctx context.Context, v Volume) error
	// Snapshots lists the names of v's snapshots in order.
	Snapshots(ctx context.Context, v Volume) ([]string, error)
}

// Filler gives new content to what is there, for content that comes from elsewhere.
type Filler interface {
	// Fill gives the volume v, which must not be in use and keeps its snapshots, what fill writes as for Create; or makes the snapshot v of
	// an existing volume of that. All of it or, on failure or after a crash, nothing. It unmounts the volume. It fails with Conflict if a
	// snapshot of that name exists, and with NotFound if the volume does not.
	Fill(ctx context.Context, v Volume, fill func(ctx context.Context, root string) error) error
}

// Renamer gives volumes and snapshots new names.
type Renamer interface {
	// Rename calls from to: a volume, which must not be in use and takes its snapshots along, or a snapshot of the same volume. One that
	// is called to already, with no from left, is no error; if both are there it fails with Conflict.
	Rename(ctx context.Context, from, to Volume) error
}

// Resizer sets a volume's quota. Where the file system has none to set it returns nil and the size stays a wish.
type Resizer interface {
	Resize(ctx context.Context, v Volume, bytes int64) error
}

// Measurer tells how much a volume uses, in bytes; it fails with Unsupported where that cannot be known cheaply.
type Measurer interface {
	VolumeUsage(ctx context.Context, v Volume) (used, total int64, err error)
}

// Streamer sends and receives volumes in the backend's own format.
type Streamer interface {
	// Send writes v, and those of its snapshots that are named, in that order. What is written meanwhile is the caller's business.
	Send(ctx context.Context, v Volume, snapshots []string, w io.Writer) error
	// Receive makes v and its snapshots of what Send wrote, with the owners of v.IDMap: all of it or, on failure or after a crash, nothing.
	// It fails with Conflict if v exists, and with Invalid on a stream that is damaged or another backend's. A stream may come from
	// anywhere, and brings nothing that an archive could not.
	Receive(ctx context.Context, v Volume, r io.Reader) error
}

// Part is one of the streams that a volume and its snapshots are exported as.
type Part struct {
	// Snapshot is the snapshot that it is of; "" is the volume itself.
	Snapshot string
	// Path is where it is in that; "" is its top.
	Path string
}

// PartWriter takes a volume in parts.
type PartWriter struct {
	// Begin is told once what comes, in order.
	Begin func(parts []Part) error
	// Put takes one part, which write writes.
	Put func(p Part, write func(w io.Writer) error) error
}

// Exporter is a Streamer whose format is made for files that are kept: a stream for each part, and nothing besides.
type Exporter interface {
	// Export hands out v, which may be a snapshot itself, and those of its snapshots that are named: these first, in that order.
	Export(ctx context.Context, v Volume, snapshots []string, to PartWriter) error
	// Import makes v and its snapshots of what next yields up to io.EOF, as Receive does of a stream. Each is read before the next comes.
	Import(ctx context.Context, v Volume, next func() (Part, io.Reader, error)) error
}
