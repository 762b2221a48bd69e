package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"sync"

	"lxd/api"
	"lxd/internal/backup/index"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/storage"
)

// Incoming is a backup on its way in: it is unpacked while it comes, and no file holds it.
type Incoming struct {
	index.Index
	r *archive.Reader
	// next is the entry that was read but is not unpacked yet.
	next *tar.Header
	// finished is closed when nothing more is read.
	finished chan struct{}
	once     sync.Once
	// Interrupt, if set, ends a read that waits for the sender.
	Interrupt func()
}

// Read begins to read a backup from body, as far as it describes itself. The caller ends it with Close.
func Read(ctx context.Context, body io.Reader) (*Incoming, error) {
	r, err := archive.Open(ctx, body)
	if err != nil {
		return nil, err
	}
	in := &Incoming{r: r, finished: make(chan struct{})}
	if in.Index, err = first(r); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// first reads the description, which comes before everything but folders.
func first(r *archive.Reader) (i index.Index, err error) {
	for {
		h, err := r.Next()
		if err != nil {
			return i, broken(err)
		}
		name := path.Clean(h.Name)
		switch {
		case name == indexFile && h.Typeflag == tar.TypeReg:
			i, err := index.Parse(r)
			if err != nil && errs.KindOf(err) == errs.Internal {
				err = broken(err)
			}
			return i, err
		case (name == "." || name == "backup") && h.Typeflag == tar.TypeDir:
		default:
			return i, errs.Newf(errs.Invalid, "the file is no backup: it begins with %q, not with %s", h.Name, indexFile)
		}
	}
}

// broken explains an error of the reader.
func broken(err error) error {
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errs.Newf(errs.Invalid, "the backup ends in the middle: get it again")
	case errs.KindOf(err) != errs.Internal:
		return err
	}
	return errs.Newf(errs.Invalid, "the backup is damaged: %w", err)
}

// Finished is closed when nothing more of the body is read.
func (in *Incoming) Finished() <-chan struct{} { return in.finished }

// Close ends the reading.
func (in *Incoming) Close() error {
	in.once.Do(func() { close(in.finished) })
	return in.r.Close()
}

// Overrides are what the sender wants to be other than the backup has it.
type Overrides struct {
	Name, Pool string
	Devices    map[string]map[string]string
}

// Import returns the work that makes an instance of a backup. The work reads it; if it is not run, the caller has to close it.
func (s *Service) Import(ctx context.Context, proj string, in *Incoming, over Overrides) (op.Spec, error) {
	switch {
	case in.Type == string(api.InstanceTypeVirtualMachine):
		return op.Spec{}, errs.Newf(errs.Unsupported, "the backup is of a virtual machine, which this server does not run yet")
	case in.Type != string(api.InstanceTypeContainer) || in.Config.Instance == nil:
		return op.Spec{}, errs.Newf(errs.Invalid, "the backup is of type %q, not of an instance", in.Type)
	}
	kept, fill, err := s.Unpack(in)
	if err != nil {
		return op.Spec{}, err
	}
	return s.d.Instances.Receive(ctx, proj, in.Request(over), instance.Arrival{
		Kind: instance.ImportKind, Description: api.OperationRestoringBackup, Same: true, Pool: over.Pool, Snapshots: kept, Fill: fill,
	})
}

// Filling writes the root of an instance, and makes its snapshots.
type Filling = func(ctx context.Context, t *op.Task, pool string, root storage.Volume) error

// Unpack describes the snapshots that a backup has, and returns how it is unpacked.
func (s *Service) Unpack(in *Incoming) ([]api.InstanceSnapshot, Filling, error) {
	if in.Config.Instance == nil {
		return nil, nil, errs.Newf(errs.Invalid, "what is sent is no instance")
	}
	kept, err := in.kept()
	if err != nil {
		return nil, nil, err
	}
	u := &unpacking{s: s, in: in, maps: map[string]idmap.Map{}}
	err = u.owners(kept)
	if err == nil && in.Optimized && len(u.maps) > 0 {
		err = errs.Newf(errs.Unsupported, "the files in the optimized backup have owners of the server that made it: export it there without --optimized-storage")
	}
	return kept, u.fill, err
}

// Request is what the backup, and the sender, want the instance to be. It is empty but for the name if what is sent is no backup of an instance.
func (in *Incoming) Request(over Overrides) api.InstancesPost {
	was := in.Config.Instance
	if was == nil {
		return api.InstancesPost{Name: over.Name}
	}
	post := api.InstancesPost{Name: over.Name, Type: api.InstanceType(was.Type)}
	if post.Name == "" {
		post.Name = in.Name
	}
	post.Architecture, post.Config, post.Profiles = was.Architecture, maps.Clone(was.Config), was.Profiles
	post.Ephemeral, post.Description = was.Ephemeral, was.Description
	if post.Profiles == nil {
		post.Profiles = []string{}
	}
	post.Devices = maps.Clone(was.Devices)
	if post.Devices == nil {
		post.Devices = map[string]map[string]string{}
	}
	for name, keys := range over.Devices {
		d := maps.Clone(was.Devices[name])
		if d == nil {
			d = maps.Clone(was.ExpandedDevices[name])
		}
		if d == nil {
			d = map[string]string{}
		}
		for k, v := range keys {
			if v == "" {
				delete(d, k)
			} else {
				d[k] = v
			}
		}
		post.Devices[name] = d
	}
	return post
}

// kept are the snapshots, in order: those that the index lists, as the configuration describes them.
func (in *Incoming) kept() (all []api.InstanceSnapshot, err error) {
	for _, name := range in.Snapshots {
		found := false
		for _, s := range in.Config.Snapshots {
			if s.Name == name && !found {
				found = true
				all = append(all, s)
			}
		}
		if !found {
			return nil, errs.Newf(errs.Invalid, "index.yaml lists the snapshot %q but does not describe it", name)
		}
	}
	return all, nil
}

// unpacking is one run of unpacking a backup.
type unpacking struct {
	s  *Service
	in *Incoming
	// maps are by which the owners in the archive are shifted, by snapshot; "" is the instance. Only those that are have one.
	maps map[string]idmap.Map
}

// owners reads by which maps owners are shifted.
func (u *unpacking) owners(kept []api.InstanceSnapshot) error {
	texts := map[string]string{"": u.in.Config.Instance.Config[lastMap]}
	for _, s := range kept {
		texts[s.Name] = s.Config[lastMap]
	}
	for name, text := range texts {
		m, err := readMap(text)
		if err != nil {
			return errs.Newf(errs.Invalid, "%s of the backup: %w", lastMap, err)
		}
		if len(m) > 0 {
			u.maps[name] = m
		}
	}
	return nil
}

// readMap reads an id map as volatile keys hold it.
func readMap(text string) (m idmap.Map, err error) {
	if text == "" {
		return nil, nil
	}
	var all []struct {
		Isuid                  bool
		Hostid, Nsid, Maprange int64
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.Isuid {
			m = append(m, idmap.Range{Host: e.Hostid, Inside: e.Nsid, Size: e.Maprange})
		}
	}
	return m, m.Validate()
}

// Layout says in which folder of a backup the content is, and below which other each snapshot has one.
type Layout struct{ Whole, Snapshots string }

// Unpack hands out the parts of the backup in whatever order they come, each once; snapshot is "" for what is no snapshot. What was handed
// out must be read to its end. It ends the reading.
func (in *Incoming) Unpack(ctx context.Context, l Layout, each func(snapshot string, a fs.Archive) error) (err error) {
	defer func() { err = errors.Join(err, in.Close()) }()
	if in.Interrupt != nil {
		defer context.AfterFunc(ctx, in.Interrupt)()
	}
	done := map[string]bool{}
	for {
		top, snapshot, err := in.part(ctx, l)
		if err != nil {
			return err
		}
		if top == "" {
			break
		}
		if done[snapshot] {
			return errs.Newf(errs.Invalid, "the backup has %s twice", top)
		}
		if err := each(snapshot, &part{in: in, top: top}); err != nil {
			return err
		}
		done[snapshot] = true
	}
	if err := in.r.Rest(); err != nil {
		return broken(err)
	}
	for _, name := range append([]string{""}, in.Snapshots...) {
		if !done[name] {
			return errs.Newf(errs.Invalid, "the backup lacks the content of what it is of, or of a snapshot (%q): get or make it again", name)
		}
	}
	return nil
}

// part finds the next part of the backup: the folder that it is in, and which snapshot it is. There are no more if top is empty.
func (in *Incoming) part(ctx context.Context, l Layout) (top, snapshot string, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return "", "", err
		}
		if in.next == nil {
			h, err := in.r.Next()
			if errors.Is(err, io.EOF) {
				return "", "", nil
			}
			if err != nil {
				return "", "", broken(err)
			}
			in.next = h
		}
		h := in.next
		name := path.Clean(h.Name)
		if _, ok := within(name, l.Whole); ok {
			return l.Whole, "", nil
		}
		rest, ok := within(name, l.Snapshots)
		snapshot, _, _ = strings.Cut(rest, "/")
		switch {
		case ok && rest == "" && h.Typeflag == tar.TypeDir, h.Typeflag == tar.TypeXGlobalHeader:
			in.next = nil
		case ok && listed(in.Index, snapshot):
			return l.Snapshots + "/" + snapshot, snapshot, nil
		default:
			return "", "", errs.Newf(errs.Invalid, "the backup has the entry %q, which index.yaml does not speak of", h.Name)
		}
	}
}

// fill unpacks the parts of the backup.
func (u *unpacking) fill(ctx context.Context, t *op.Task, pool string, root storage.Volume) error {
	if u.in.Optimized {
		return u.in.UnpackOwn(ctx, Layout{whole, snapshots}, storage.Place{Pool: pool, Volume: root}, u.s.d.Volumes)
	}
	return u.in.Unpack(ctx, Layout{whole, snapshots}, func(snapshot string, a fs.Archive) error {
		return u.one(ctx, t, place{pool, root.At(snapshot)}, a)
	})
}

// place is where a part comes to.
type place struct {
	pool string
	v    storage.Volume
}

// one unpacks one part.
func (u *unpacking) one(ctx context.Context, t *op.Task, to place, a fs.Archive) error {
	o := fs.Options{Holes: true, Select: wanted, Progress: func(n int64) {
		t.Progress("unpack_progress", fmt.Sprintf("%.2fMB", float64(n)/1e6))
	}}
	if m := u.maps[to.v.Snapshot]; len(m) > 0 {
		o.Owner = m.ToInside
	}
	return u.s.d.Volumes.Fill(ctx, to.pool, to.v, func(ctx context.Context, dir string) error {
		_, err := fs.Extract(ctx, a, dir, o)
		return err
	})
}

// wanted is what of a part becomes part of the volume. backup.yaml does not: what counts is index.yaml, which was checked.
func wanted(name string) (string, bool) {
	first, _, deeper := strings.Cut(name, "/")
	return name, first == rootfs || first == templates || name == metadata && !deeper
}

// part is the entries of an archive that are in one folder, as long as no other comes.
type part struct {
	in  *Incoming
	top string
}

// Next goes to the next entry of the folder; its names are those below it.
func (p *part) Next() (*tar.Header, error) {
	h := p.in.next
	p.in.next = nil
	if h == nil {
		var err error
		if h, err = p.in.r.Next(); err != nil {
			return nil, err
		}
	}
	name, ok := within(strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/"), p.top)
	if !ok {
		if _, same := within(path.Clean(h.Name), p.top); same {
			return nil, errs.Newf(errs.Invalid, "the backup has the entry %q: its name is not written plainly", h.Name)
		}
		p.in.next = h
		return nil, io.EOF
	}
	own := *h
	own.Name = "./" + name
	if h.Typeflag == tar.TypeLink {
		link, ok := within(strings.TrimPrefix(h.Linkname, "./"), p.top)
		if !ok || link == "" {
			return nil, errs.Newf(errs.Invalid, "the backup has the entry %q, a hard link out of its folder to %q: it is refused", h.Name, h.Linkname)
		}
		own.Linkname = link
	}
	return &own, nil
}

// Read reads the content of the entry.
func (p *part) Read(b []byte) (int, error) { return p.in.r.Read(b) }
