package instance

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/instance/config"
	"lxd/internal/instance/cpu"
	"lxd/internal/instance/template"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// Keys are the configuration keys of instances and profiles.
var Keys = config.Keys

// Volumes is what instances need of storage. The methods have the meaning of those of storage.Pool.
type Volumes interface {
	// EnsureImage makes the image's volume in the pool if it is not there yet, and shows progress on t.
	EnsureImage(ctx context.Context, t *op.Task, pool, fingerprint string) error
	CreateFromImage(ctx context.Context, pool string, v storage.Volume, fingerprint string) error
	CreateEmpty(ctx context.Context, pool string, v storage.Volume) error
	Delete(ctx context.Context, pool string, v storage.Volume) error
	Mount(ctx context.Context, pool string, v storage.Volume) (storage.Mounted, error)
	Unmount(ctx context.Context, pool string, v storage.Volume) error
	// VolumeUsage fails with Unsupported where it cannot be known cheaply.
	VolumeUsage(ctx context.Context, pool string, v storage.Volume) (used, total int64, err error)
	// Resize fails with Unsupported on a pool that has no quotas.
	Resize(ctx context.Context, pool string, v storage.Volume, bytes int64) error
}

// Copies is what instances need of storage to keep, copy and rename what they hold. The methods have the meaning of those of storage.Pool
// and of its optional interfaces; they fail with Unsupported on a pool that has no such ability.
type Copies interface {
	Snapshot(ctx context.Context, pool string, v storage.Volume) error
	Restore(ctx context.Context, pool string, v storage.Volume) error
	// CreateFilled makes a volume, and Fill a snapshot, of what fill writes with owners as seen inside.
	CreateFilled(ctx context.Context, pool string, v storage.Volume, fill func(ctx context.Context, root string) error) error
	Fill(ctx context.Context, pool string, v storage.Volume, fill func(ctx context.Context, root string) error) error
	// Stream makes a volume with snapshots from one of another pool whose driver is the same.
	Stream(ctx context.Context, from storage.Place, snapshots []string, to storage.Place) error
	// Copy makes to, a volume or a snapshot, from one of the same pool.
	Copy(ctx context.Context, pool string, from, to storage.Volume) error
	// Rename and Replace can be done again, or back, when they were cut short.
	Rename(ctx context.Context, pool string, from, to storage.Volume) error
	// Replace puts from into the place of to; if from is gone that was done.
	Replace(ctx context.Context, pool string, from, to storage.Volume) error
}

// Images is what instances need of images.
type Images interface {
	// Resolve finds the image that an alias or a fingerprint (or the first 12 digits and more of one) names in a project.
	Resolve(ctx context.Context, project, ref string) (api.Image, error)
	// Fetch sees to it that the project has an image of another server, and shows progress on t.
	Fetch(ctx context.Context, t *op.Task, project string, src api.ImagesPostSource) (api.Image, error)
	// Used notes within tx that an instance was made from an image at that time; an image that is gone is no error.
	Used(tx store.Tx, project, fingerprint string, at time.Time) error
}

// Socket is where an instance finds the server.
type Socket struct {
	Project, Name string
	// Dir is a folder for it, to be mounted in the instance. Owner is the host's id of the instance's root.
	Dir   string
	Owner int
}

// Guests serves instances with what they may ask of the server.
type Guests interface {
	// Open makes the folder of a socket and listens there, for an instance that is about to run, or one that a restarted daemon finds
	// running: then it replaces the socket in the folder that is there. On failure nothing is left.
	Open(at Socket) error
	// Close ends that and removes the folder; a missing one is no error.
	Close(dir string) error
	// Changed is told of an instance whose configuration or devices may have changed.
	Changed(ctx context.Context, project, name string)
}

// Belongings is what others keep of instances.
type Belongings interface {
	// Deleted and Renamed are told within the transaction that does it.
	Deleted(tx store.Tx, project, name string) error
	Renamed(tx store.Tx, project, from, to string) error
	// Sweep removes from the host what nothing in the store refers to any more, in the background.
	Sweep()
}

// Templates renders the templates of instances.
type Templates interface {
	Render(ctx context.Context, j template.Job) ([]string, error)
}

// Starter runs operations.
type Starter interface {
	Start(ctx context.Context, s op.Spec) (*op.Operation, error)
}

// Host is what the rules need to know of this computer.
type Host struct {
	// Architecture is the kernel's name of it, such as "x86_64".
	Architecture string
	// CPUs are the numbers of the CPUs that are online; Memory is the bytes of memory.
	CPUs   []int
	Memory int64
	// Nodes are the CPUs of each NUMA node.
	Nodes map[int][]int
	// Boot changes each time the host boots.
	Boot string
	// IDMap is the map of unprivileged containers. Reserved are all ids that root may give to containers; none means any.
	IDMap, Reserved []machine.IDRange
}

// Warnings is where the administrator learns of problems.
type Warnings interface {
	Raise(ctx context.Context, t api.WarningType, e warning.Entity, message string) error
	Resolve(ctx context.Context, t api.WarningType, e warning.Entity) error
}

// Deps is what the service needs.
type Deps struct {
	Store   store.Store
	Ops     Starter
	Machine machine.Driver
	Volumes Volumes
	Copies  Copies
	Images  Images
	// Networks may be nil.
	Networks  Networks
	Templates Templates
	// Guests may be nil: instances have no socket then.
	Guests Guests
	// Belongings may be nil.
	Belongings Belongings
	// Kinds are the kinds of devices, those without Subtype before those with.
	Kinds []device.Kind
	Host  Host
	// Location is the name of this member; "" when it is not in a cluster.
	Location string
	// Warnings is told of what went wrong while nobody waited for an answer, besides the log; it may be nil.
	Warnings Warnings
	// Announce publishes an event.Change that no record goes with; nil is no one.
	Announce func(any)
	// BridgeFilter tells whether packets between ports of a bridge pass the firewall, those of IPv6 or of IPv4; nil is not asked.
	BridgeFilter func(six bool) bool
	// LoadModule makes the kernel have a module.
	LoadModule func(ctx context.Context, name string) error
	// RunDir and LogDir hold a folder for each instance.
	RunDir, LogDir string
}

// Service is the use cases of instances. Its methods may be called at the same time.
type Service struct {
	d Deps
	// base outlives requests and operations; it ends with Close.
	base  context.Context
	close context.CancelFunc
	wait  sync.WaitGroup
	live  live
	holds holds
	shown fragments
	cpus  cpu.Assigner
	// claiming is held while ids are given to an instance alone.
	claiming sync.Mutex
	stale    stale
	late     late
	// closing is set once the server stops: machines that end from then on are not started again.
	closing chan struct{}
	once    sync.Once
}

// New makes the service; it has no effects. base ends when the daemon does.
func New(base context.Context, d Deps) *Service {
	s := &Service{d: d, closing: make(chan struct{})}
	s.base, s.close = context.WithCancel(base)
	return s
}

// Close ends what the service does in the background. Running machines go on.
func (s *Service) Close() {
	s.once.Do(func() { close(s.closing) })
	s.close()
	s.wait.Wait()
}

// view is an instance together with what its profiles add to it.
type view struct {
	Record
	// rev is the newest revision of the record and its profiles: it changes whenever the view does.
	rev     uint64
	config  map[string]string
	devices Devices
	// layers are the profiles in order.
	layers []profile.Record
}

// look composes the view of one instance.
func look(tx store.Tx, key string) (view, error) {
	r, rev, err := Collection.GetRev(tx, key)
	if err != nil {
		return view{}, err
	}
	return compose(tx, r, rev)
}

// compose adds to a record what its profiles say.
func compose(tx store.Tx, r Record, rev uint64) (view, error) {
	v := view{Record: r, rev: rev}
	for _, name := range r.Profiles {
		p, prev, err := profile.Collection.GetRev(tx, profile.Key(r.ProfileProject, name))
		if err != nil {
			return view{}, err
		}
		v.layers, v.rev = append(v.layers, p), max(v.rev, prev)
	}
	v.expand()
	return v, nil
}

// expand lays the profiles and what is the instance's own over each other.
func (v *view) expand() {
	v.config, v.devices = profile.Expand(v.layers, v.Config, v.Devices)
	for name, cfg := range v.devices {
		if cfg["type"] == "none" {
			delete(v.devices, name)
		}
	}
}

// view loads one instance; a name that no instance can have is Invalid if it has a slash in it.
func (s *Service) view(ctx context.Context, proj, name string) (v view, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		v, err = look(tx, Key(proj, name))
		return err
	})
	return v, err
}

func (s *Service) viewByKey(ctx context.Context, key string) (view, error) {
	proj, name, _ := strings.Cut(key, "/")
	return s.view(ctx, proj, name)
}

// volume is the root volume of an instance.
func (s *Service) volume(v view) storage.Volume {
	root := v.devices[rootDevice(v.devices)]
	vol := storage.Volume{
		Type: storage.ContainerVolume, Project: v.Project, Name: v.Name, Config: map[string]string{},
		Plain: Keys.Bool(v.config, "security.nesting"),
	}
	if root["size"] != "" {
		vol.Config["size"] = root["size"]
	}
	for _, m := range s.idmap(v) {
		vol.IDMap = append(vol.IDMap, storage.IDRange(m))
	}
	return vol
}

// idmap is the id map of an instance, as it runs or is to run next; none means privileged. One that cannot be any more, because the host's
// ids are others by now, is the usual one: its next start says what is wrong.
func (s *Service) idmap(v view) []machine.IDRange {
	if v.Run != nil && v.Run.Mapped {
		return v.Run.IDMap
	}
	base, _ := strconv.ParseInt(v.Record.Config[baseKey], 10, 64) // the server's own
	m, err := config.IDMap(v.config, s.d.Host.IDMap, base)
	if err != nil {
		return s.d.Host.IDMap
	}
	return m
}

// baseKey keeps where the ids of an instance begin that shares none with others.
const baseKey = "volatile.idmap.base"

// claim finds ids for an instance that is to share none with others, or gives them back, and hands the record with them to write: nobody else
// claims any meanwhile. It fails with Invalid if what the configuration asks for cannot be.
func (s *Service) claim(ctx context.Context, v view, write func(Record) error) error {
	s.claiming.Lock()
	defer s.claiming.Unlock()
	base := int64(0)
	if config.Isolated(v.config) {
		used, err := s.claimed(ctx, v.key())
		picks, failed := config.Picked(v.config["raw.idmap"])
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		used = append(used, picks...)
		wanted, size := config.IsolatedBase(v.config), config.IsolatedSize(v.config)
		had, _ := strconv.ParseInt(v.Record.Config[baseKey], 10, 64)
		if base, err = config.FreeBase(s.d.Host.IDMap, used, cmp.Or(wanted, had), size); err != nil && wanted == 0 {
			base, err = config.FreeBase(s.d.Host.IDMap, used, 0, size)
		}
		if err != nil {
			return err
		}
	}
	m, err := config.IDMap(v.config, s.d.Host.IDMap, base)
	if err == nil {
		err = config.Permitted(v.config, s.d.Host.Reserved)
	}
	if err != nil {
		return err
	}
	r := v.Record
	r.Config = maps.Clone(r.Config)
	r.setVolatile(map[string]string{baseKey: strconv.FormatInt(base, 10), "volatile.idmap.next": idmapText(m)})
	return write(r)
}

// claimed are the ids of all other instances that share none.
func (s *Service) claimed(ctx context.Context, but string) (used []machine.IDRange, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for e, r := range Collection.AllRev(tx, "") {
			base, _ := strconv.ParseInt(r.Config[baseKey], 10, 64)
			if base == 0 || e.Key == but {
				continue
			}
			v, err := compose(tx, r, 0)
			if err != nil {
				return err
			}
			used = append(used, machine.IDRange{Host: base, Size: config.IsolatedSize(v.config)})
		}
		return nil
	})
	return used, err
}

// runDir and logDir are the instance's folders.
func (s *Service) runDir(r Record) string { return filepath.Join(s.d.RunDir, folder(r)) }
func (s *Service) logDir(r Record) string { return filepath.Join(s.d.LogDir, folder(r)) }

func folder(r Record) string {
	if r.Project == project.Default {
		return r.Name
	}
	return r.ID()
}

// change is what happened to an instance, on behalf of whoever ctx belongs to.
func change(ctx context.Context, action string, r Record) event.Change {
	c := event.Change{Action: action, Source: project.URL("", "instances", r.Name), Project: r.Project, Name: r.Name}
	if who := op.CallerOf(ctx); who != (op.Caller{}) {
		c.Requestor = &api.EventLifecycleRequestor{Username: who.Username, Protocol: who.Protocol, Address: who.Address}
	}
	return c
}

// spec begins the description of an operation on one instance.
func spec(kind string, what api.OperationType, r Record) op.Spec {
	return op.Spec{
		Kind: kind, Description: what.String(), Project: r.Project, Locks: []string{r.lock()},
		Resources: map[string][]string{string(api.EntityTypeInstance): {r.URL()}},
		Args:      target{r.Project, r.Name},
	}
}

// target is what the journals of operations on an instance hold.
type target struct{ Project, Name string }

// CheckPath fails with Invalid on a name from a path that no instance can have because of a slash in it.
func CheckPath(name string) error {
	for _, c := range name {
		if c == '/' {
			return errs.Newf(errs.Invalid, "invalid instance name %q: it may not contain a slash", name)
		}
	}
	return nil
}

// now is the time that records are stamped with.
func now() time.Time { return time.Now().UTC() }
