package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/profile"
	"lxd/internal/store"
)

// api is the view as clients see it in that status.
func (v view) api(status api.StatusCode) api.Instance {
	a := api.Instance{
		Name: v.Name, Description: v.Description, Status: status.String(), StatusCode: status, CreatedAt: v.CreatedAt,
		LastUsedAt: v.lastUsed(), Location: cmp.Or(v.Location, "none"), Type: string(v.Type), Project: v.Project, Architecture: v.Architecture,
		Ephemeral: v.Ephemeral, Stateful: v.Stateful, Profiles: v.Profiles, Config: v.Config, Devices: v.Devices,
		ExpandedConfig: v.config, ExpandedDevices: v.devices,
	}
	if a.Profiles == nil {
		a.Profiles = []string{}
	}
	if a.Config == nil {
		a.Config = map[string]string{}
	}
	if a.Devices == nil {
		a.Devices = Devices{}
	}
	return a
}

// lastUsed is when it was last started, or the epoch if it never was (wire value).
func (r Record) lastUsed() time.Time {
	if r.LastUsedAt.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return r.LastUsedAt
}

// architectures numbers the architectures as the ETag of an instance has them.
var architectures = map[string]int{
	"i686": 1, "x86_64": 2, "armv7l": 3, "aarch64": 4, "ppc": 5, "ppc64": 6, "ppc64le": 7, "s390x": 8, "mips": 9, "mips64": 10,
	"riscv32": 11, "riscv64": 12, "armv6l": 13, "armv8l": 14, "loongarch64": 15,
}

// etag is the part of the instance that If-Match guards.
func (v view) etag(tx store.Tx) (any, error) {
	profiles := make([]api.Profile, 0, len(v.Profiles))
	for _, name := range v.Profiles {
		p, err := profile.Collection.Get(tx, profile.Key(v.ProfileProject, name))
		if err != nil {
			return nil, err
		}
		profiles = append(profiles, p.API(nil))
	}
	a := v.api(api.StatusStopped)
	return []any{architectures[v.Architecture], a.Config, a.Devices, v.Ephemeral, profiles}, nil
}

// status is what the instance does, as far as this daemon has seen.
func (s *Service) status(key string) api.StatusCode {
	r := s.live.get(key)
	switch {
	case r == nil || r.over():
		return api.StatusStopped
	case r.frozen.Load():
		return api.StatusFrozen
	case r.ready.Load():
		return api.StatusReady
	}
	return api.StatusRunning
}

// Get loads one instance and what If-Match guards of it.
func (s *Service) Get(ctx context.Context, proj, name string) (a api.Instance, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		v, err := look(tx, Key(proj, name))
		if err != nil {
			return err
		}
		a = v.api(s.status(v.key()))
		etag, err = v.etag(tx)
		return err
	})
	return a, etag, err
}

// Query says which instances a list is about and how much of them it shows.
type Query struct {
	Project string
	All     bool
	// Type leaves out instances of other types, unless it is empty.
	Type string
	// Depth is the recursion: 2 and more needs states.
	Depth  int
	Fields Fields
}

// Shown is one instance of a list.
type Shown struct {
	URL  string
	s    *Service
	v    view
	code api.StatusCode
	// snapshots are filled in at depth 2 and more.
	snapshots []api.InstanceSnapshot
	// state is filled in when states are asked for; tail is its JSON if many share it.
	state *api.InstanceState
	tail  []byte
	kept  *fragment
}

// fragment is the JSON of an instance, kept as long as nothing of it changes.
type fragment struct {
	rev  uint64
	code api.StatusCode
	url  string
	once sync.Once
	json []byte
}

// fragments are the kept ones, by key.
type fragments struct {
	mu  sync.RWMutex
	all map[string]*fragment
}

// of returns the fragment of a view in that status; a new one is not filled yet.
func (f *fragments) of(v view, code api.StatusCode) *fragment {
	key := v.key()
	f.mu.RLock()
	kept := f.all[key]
	f.mu.RUnlock()
	if kept != nil && kept.rev == v.rev && kept.code == code {
		return kept
	}
	kept = &fragment{rev: v.rev, code: code, url: v.URL()}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[string]*fragment{}
	}
	f.all[key] = kept
	return kept
}

func (f *fragments) drop(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, key)
}

// List yields the instances of a query, in order of project and name.
func (s *Service) List(ctx context.Context, q Query) iter.Seq2[*Shown, error] {
	return func(yield func(*Shown, error) bool) {
		all, err := s.gather(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		if q.Depth >= 2 {
			s.fillStates(ctx, all, q.Fields)
		}
		for _, sh := range all {
			if !yield(sh, nil) {
				return
			}
		}
	}
}

func (s *Service) gather(ctx context.Context, q Query) (all []*Shown, err error) {
	if q.Type != "" && q.Type != string(api.InstanceTypeContainer) && q.Type != string(api.InstanceTypeVirtualMachine) {
		return nil, errs.Newf(errs.Invalid, "unknown instance type %q: it is container or virtual-machine", q.Type)
	}
	prefix := q.Project + "/"
	if q.All {
		prefix = ""
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		known := profiles{tx: tx, byKey: map[string]found{}}
		for e, r := range Collection.AllRev(tx, prefix) {
			if q.Type != "" && q.Type != string(r.Type) {
				continue
			}
			sh, err := s.shownOf(&known, r, e)
			if err != nil {
				return err
			}
			all = append(all, sh)
		}
		if q.Depth >= 2 {
			addSnapshots(tx, prefix, all)
		}
		return nil
	})
	return all, err
}

// addSnapshots adds to each instance of a list its snapshots.
func addSnapshots(tx store.Tx, prefix string, all []*Shown) {
	byKey := map[string][]Snapshot{}
	for _, s := range Snapshots.AllRev(tx, prefix) {
		if !s.Making {
			byKey[s.Instance.key()] = append(byKey[s.Instance.key()], s)
		}
	}
	if len(byKey) == 0 {
		return
	}
	for _, sh := range all {
		kept := byKey[sh.v.key()]
		slices.SortStableFunc(kept, func(a, b Snapshot) int { return a.TakenAt.Compare(b.TakenAt) })
		for _, s := range kept {
			sh.snapshots = append(sh.snapshots, s.api(tx))
		}
	}
}

// profiles remembers the profiles looked up for one list.
type profiles struct {
	tx    store.Tx
	byKey map[string]found
}

type found struct {
	r   profile.Record
	rev uint64
	err error
}

func (p *profiles) get(key string) found {
	f, ok := p.byKey[key]
	if !ok {
		f.r, f.rev, f.err = profile.Collection.GetRev(p.tx, key)
		p.byKey[key] = f
	}
	return f
}

// shownOf finds the kept fragment of a record; its view is composed only if something needs it.
func (s *Service) shownOf(known *profiles, r Record, e store.Entry) (*Shown, error) {
	v, err := known.view(r, e)
	if err != nil {
		return nil, err
	}
	sh := &Shown{s: s, v: v, code: s.status(e.Key)}
	sh.kept = s.shown.of(v, sh.code)
	sh.URL = sh.kept.url
	return sh, nil
}

// view is that of a record, not expanded yet.
func (p *profiles) view(r Record, e store.Entry) (view, error) {
	v := view{Record: r, rev: e.Rev, layers: make([]profile.Record, 0, len(r.Profiles))}
	for _, name := range r.Profiles {
		f := p.get(profile.Key(r.ProfileProject, name))
		if f.err != nil {
			return view{}, f.err
		}
		v.layers, v.rev = append(v.layers, f.r), max(v.rev, f.rev)
	}
	return v, nil
}

// Value is the instance as api.Instance, or as api.InstanceFull at depth 2 and more.
func (sh *Shown) Value(depth int) any {
	sh.v.expand()
	a := sh.v.api(sh.code)
	if depth < 2 {
		return a
	}
	return api.InstanceFull{Instance: a, Backups: nil, Snapshots: sh.snapshots, State: sh.state}
}

// JSON is the kept JSON of the instance, with its state appended at depth 2 and more; nil if it cannot be had so.
func (sh *Shown) JSON(depth int) []byte {
	sh.kept.once.Do(func() {
		b, err := json.Marshal(sh.Value(1))
		if err == nil {
			sh.kept.json = b
		}
	})
	if depth < 2 || sh.kept.json == nil {
		return sh.kept.json
	}
	state := sh.tail
	if state == nil {
		var err error
		if state, err = json.Marshal(sh.state); err != nil {
			return nil
		}
	}
	snapshots := []byte("null")
	if sh.snapshots != nil {
		var err error
		if snapshots, err = json.Marshal(sh.snapshots); err != nil {
			return nil
		}
	}
	const before, between, after = `,"backups":null,"state":`, `,"snapshots":`, `}`
	b := make([]byte, 0, len(sh.kept.json)+len(before)+len(state)+len(between)+len(snapshots)+len(after))
	b = append(b, sh.kept.json[:len(sh.kept.json)-1]...)
	b = append(append(b, before...), state...)
	b = append(append(append(b, between...), snapshots...), after...)
	return b
}

// Fields are the parts of a state that cost something to find out.
type Fields struct{ Disk, Network bool }

// ParseFields reads a list of fields such as "state.disk"; nil means all of them.
func ParseFields(list []string) (f Fields, err error) {
	if list == nil {
		return Fields{Disk: true, Network: true}, nil
	}
	for _, name := range list {
		switch strings.ToLower(name) {
		case "state.disk":
			f.Disk = true
		case "state.network":
			f.Network = true
		default:
			return f, errs.Newf(errs.Invalid, "unknown field %q: it is state.disk or state.network", name)
		}
	}
	return f, nil
}
