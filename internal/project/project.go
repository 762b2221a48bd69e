// Package project holds projects: named scopes that own instances, and by their features images, profiles, volumes and networks.
package project

import (
	"context"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/store"
)

// Default is the project that always exists.
const Default = "default"

// Record is a project as stored.
type Record struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// Collection is where the records live.
var Collection = store.Collection[Record]{Name: "project", Key: func(r Record) string { return r.Name }}

// Feature is a kind of object that a project can have of its own.
type Feature string

// Features.
const (
	Images   Feature = "features.images"
	Profiles Feature = "features.profiles"
	Volumes  Feature = "features.storage.volumes"
	Buckets  Feature = "features.storage.buckets"
	Networks Feature = "features.networks"
	Zones    Feature = "features.networks.zones"
)

// Features are all of them.
var Features = []Feature{Images, Profiles, Volumes, Buckets, Networks, Zones}

// words are what the names of types of entities, and of entitlements on them, have in them; the first that does counts.
var words = []struct {
	word    string
	feature Feature
}{
	{"image", Images}, {"profile", Profiles}, {"storage_volume", Volumes}, {"storage_bucket", Buckets}, {"network_zone", Zones}, {"network", Networks},
}

// FeatureOf is the feature that decides which project owns what an entitlement or a type of entity is about; not ok if none does.
func FeatureOf(what string) (f Feature, ok bool) {
	for _, w := range words {
		if strings.Contains(what, w.word) {
			return w.feature, true
		}
	}
	return "", false
}

// OwnerOf is the project that owns what a project sees of a type of entity, or what an entitlement is about. One that does not exist
// owns what is its own in name.
func (s *Service) OwnerOf(ctx context.Context, name, what string) (owner string) {
	f, ok := FeatureOf(what)
	if !ok || name == Default {
		return name
	}
	err := s.Store.View(ctx, func(tx store.Tx) (err error) {
		owner, err = Owner(tx, name, f)
		return err
	})
	if err != nil {
		return name
	}
	return owner
}

// newFeatures are those that a new project has unless its request says otherwise.
var newFeatures = []Feature{Images, Profiles, Volumes, Buckets}

// Owner is the project whose objects of that feature the project sees: itself, or the default project.
func Owner(tx store.Tx, project string, f Feature) (string, error) {
	if project == Default {
		return Default, nil
	}
	r, err := Collection.Get(tx, project)
	if err != nil {
		return "", err
	}
	if Keys.Bool(r.Config, string(f)) {
		return project, nil
	}
	return Default, nil
}

// Ref is the reference of a record to the project that it is in.
func Ref(name string) store.Ref { return store.Ref{Collection: Collection.Name, Key: name} }

// API is the record as clients see it.
func (r Record) API(usedBy []string) api.Project {
	p := api.Project{Name: r.Name, Description: r.Description, Config: r.Config, UsedBy: usedBy}
	if p.Config == nil {
		p.Config = map[string]string{}
	}
	if p.UsedBy == nil {
		p.UsedBy = []string{}
	}
	return p
}

// ETag is the part of the record that If-Match guards.
func (r Record) ETag() any { return []any{r.Description, r.Config} }

// URL is the project's address.
func (r Record) URL() string { return URL("", "projects", r.Name) }

// Profiler looks after the default profile of projects that have profiles of their own.
type Profiler interface {
	// Seed writes the default profile of a new project within tx; pool and network are what it is to use, "" for none.
	Seed(tx store.Tx, project, pool, network string) error
	// Drop removes the default profile of a project within tx; a missing one is no error.
	Drop(tx store.Tx, project string) error
	// Move gives the default profile of a project to another one within tx; a missing one is no error.
	Move(tx store.Tx, from, to string) error
}

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Profiles may be nil: then new projects start without a profile.
	Profiles Profiler
	// Contents is set by Use once it exists.
	Contents Contents
}

// Contents is what is in projects.
type Contents interface {
	// Empty deletes everything that is in a project but its default profile, running instances included.
	Empty(ctx context.Context, project string) error
	// Usage is what the project uses of each resource that can be limited.
	Usage(ctx context.Context, project string) (api.ProjectState, error)
}

// Service is the use cases of projects.
type Service struct{ Deps }

// New makes the service; it has no effects.
func New(d Deps) *Service { return &Service{d} }

// Use tells the service what is in projects; it must be called before the first request.
func (s *Service) Use(c Contents) { s.Contents = c }

// State is what a project uses of each resource that can be limited.
func (s *Service) State(ctx context.Context, name string) (api.ProjectState, error) {
	if err := s.Check(ctx, name); err != nil {
		return api.ProjectState{}, err
	}
	return s.Contents.Usage(ctx, name)
}

// Start makes sure that the default project exists.
func (s *Service) Start(ctx context.Context) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if Collection.Has(tx, Default) {
			return nil
		}
		cfg := map[string]string{}
		for _, f := range append([]Feature{Networks, Zones}, newFeatures...) {
			cfg[string(f)] = "true"
		}
		return Collection.Insert(tx, Record{Name: Default, Description: "Default LXD project", Config: cfg})
	})
}

// Check fails with NotFound when there is no such project.
func (s *Service) Check(ctx context.Context, name string) error {
	return s.Store.View(ctx, func(tx store.Tx) error {
		_, err := Collection.Get(tx, name)
		return err
	})
}

// Get loads one project with the URLs of what is in it.
func (s *Service) Get(ctx context.Context, name string) (p api.Project, etag any, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) error {
		r, err := Collection.Get(tx, name)
		if err != nil {
			return err
		}
		p, etag = r.API(UsedBy(Collection.UsedBy(tx, name))), r.ETag()
		return nil
	})
	return p, etag, err
}

// List loads all projects, in order of name.
func (s *Service) List(ctx context.Context) (all []api.Project, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) error {
		for r, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, r.API(UsedBy(Collection.UsedBy(tx, r.Name))))
		}
		return nil
	})
	return all, err
}

// Create adds a project, and its first profile if it has profiles of its own.
func (s *Service) Create(ctx context.Context, post api.ProjectsPost) error {
	r := Record{Name: post.Name, Description: post.Description, Config: map[string]string{}}
	for k, v := range post.Config {
		if v != "" {
			r.Config[k] = v
		}
	}
	for _, f := range newFeatures {
		if _, given := post.Config[string(f)]; !given {
			r.Config[string(f)] = "true"
		}
	}
	if err := CheckName(r.Name); err != nil {
		return err
	}
	if err := Keys.Validate(r.Config); err != nil {
		return err
	}
	if (post.StoragePool != "" || post.Network != "") && !Keys.Bool(r.Config, string(Profiles)) {
		return errs.Newf(errs.Invalid, "project %q has no profile of its own for a storage pool or network: leave these out, or set %s to true", r.Name, Profiles)
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err := Collection.Insert(tx, r); err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleProjectCreated, r))
		if s.Profiles == nil || !Keys.Bool(r.Config, string(Profiles)) {
			return nil
		}
		return s.Profiles.Seed(tx, r.Name, post.StoragePool, post.Network)
	})
}

// Update replaces what clients may write of a project.
func (s *Service) Update(ctx context.Context, name string, put api.ProjectPut) error {
	cfg := map[string]string{}
	for k, v := range put.Config {
		if v != "" {
			cfg[k] = v
		}
	}
	if err := Keys.Validate(cfg); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		old, err := Collection.Get(tx, name)
		if err != nil {
			return err
		}
		if err := checkFeatures(tx, old, cfg); err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleProjectUpdated, old))
		return Collection.Modify(tx, name, func(r *Record) error {
			r.Description, r.Config = put.Description, cfg
			return nil
		})
	})
}

// checkFeatures refuses to change what a project owns while it owns something.
func checkFeatures(tx store.Tx, old Record, cfg map[string]string) error {
	for _, f := range append([]Feature{Networks, Zones}, newFeatures...) {
		if Keys.Bool(old.Config, string(f)) == Keys.Bool(cfg, string(f)) {
			continue
		}
		if old.Name == Default {
			return errs.Newf(errs.Invalid, "feature %q of the default project cannot be changed", f)
		}
		if len(content(tx, old.Name)) > 0 {
			return errs.Newf(errs.Invalid, "feature %q of project %q can be changed only while the project is empty", f, old.Name)
		}
	}
	return nil
}

func change(action string, r Record) event.Change {
	return event.Change{Action: action, Source: r.URL(), Global: true, Project: r.Name, Name: r.Name}
}
