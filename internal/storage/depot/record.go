package depot

import (
	"fmt"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// Sort is what is kept in a volume.
type Sort string

// Sorts.
const (
	Images  Sort = "images"
	Backups Sort = "backups"
)

// Place is whose things of one sort are kept: those of a project, or of all projects that have no volume of their own for "".
type Place struct {
	Sort    Sort   `json:"sort"`
	Project string `json:"project,omitempty"`
}

// Key is the server's configuration key for it.
func (p Place) Key() string {
	if p.Project == "" {
		return "storage." + string(p.Sort) + "_volume"
	}
	return "storage.project." + p.Project + "." + string(p.Sort) + "_volume"
}

// placeOf reads a key of the server's configuration.
func placeOf(key string) (p Place, ok bool) {
	for _, sort := range []Sort{Images, Backups} {
		switch rest, found := strings.CutSuffix(strings.TrimPrefix(key, "storage."), string(sort)+"_volume"); {
		case !found || !strings.HasPrefix(key, "storage."):
		case rest == "":
			return Place{Sort: sort}, true
		case strings.HasPrefix(rest, "project.") && strings.HasSuffix(rest, "."):
			return Place{sort, strings.TrimSuffix(strings.TrimPrefix(rest, "project."), ".")}, true
		}
	}
	return p, false
}

// Record is a volume that is in use for a place: from before anything is put into it until everything has left it.
type Record struct {
	Place
	Pool   string `json:"pool"`
	Volume string `json:"volume"`
}

// Collection is where the records live. A volume with one cannot be deleted.
var Collection = store.Collection[Record]{
	Name: "depot",
	Key:  Record.key,
	Refs: func(r Record) []store.Ref {
		return []store.Ref{{Collection: storage.Volumes.Name, Key: r.volumeKey()}}
	},
}

func (r Record) key() string {
	return strings.Join([]string{string(r.Sort), r.Project, r.Pool, r.Volume}, "/")
}

func (r Record) volumeKey() string { return storage.CustomKey(r.Pool, project.Default, r.Volume) }

// user is by what name it has the volume mounted.
func (r Record) user() string { return "the server, as " + r.Place.Key() }

// wanted are the volumes that a configuration of the server names.
func wanted(config map[string]string) (map[Place]Record, error) {
	all := map[Place]Record{}
	for key, v := range config {
		p, ok := placeOf(key)
		if !ok || v == "" {
			continue
		}
		pool, name, ok := strings.Cut(v, "/")
		if !ok || pool == "" || name == "" || strings.Contains(name, "/") {
			return nil, errs.Newf(errs.Invalid, "%s: %q must be POOL/VOLUME", key, v)
		}
		all[p] = Record{p, pool, name}
	}
	return all, nil
}

// Used fails with Invalid, within tx, if the volume of that key is in use by the server.
func Used(tx store.Tx, volume string) error {
	for _, r := range Collection.AllRev(tx, "") {
		if r.volumeKey() == volume {
			return errs.Newf(errs.Invalid, "storage volume %q in pool %q is in use by the server: unset %s first", r.Volume, r.Pool, r.Place.Key())
		}
	}
	return nil
}

// admit fails unless the volume can be used for the place.
func admit(tx store.Tx, r Record) error {
	what := fmt.Sprintf("%s: storage volume %q in pool %q", r.Place.Key(), r.Volume, r.Pool)
	v, err := storage.Volumes.Get(tx, r.volumeKey())
	switch {
	case errs.Is(err, errs.NotFound):
		return errs.Newf(errs.Invalid, "%s does not exist in project %q: create it first", what, project.Default)
	case err != nil:
		return err
	case v.ContentType != "filesystem":
		return errs.Newf(errs.Invalid, "%s has content of type %s: choose one with a file system", what, v.ContentType)
	}
	return free(tx, r, what)
}

// free fails if anything else uses the volume; what it keeps must not be seen, or turned back, by others.
func free(tx store.Tx, r Record, what string) error {
	for _, u := range storage.Users(tx, r.volumeKey()) {
		if u.Collection != Collection.Name {
			return errs.Newf(errs.Invalid, "%s is in use by %s %q: detach it first, or choose another", what, u.Collection, u.Key)
		}
	}
	if n := len(storage.SnapshotsOf(tx, r.volumeKey())); n > 0 {
		return errs.Newf(errs.Invalid, "%s has %d snapshots: delete them first, or choose another", what, n)
	}
	for _, other := range Collection.AllRev(tx, "") {
		if other.Sort == r.Sort && other.Project != r.Project && other.volumeKey() == r.volumeKey() {
			return errs.Newf(errs.Invalid, "%s is in use for %s: choose another", what, other.Place.Key())
		}
	}
	return nil
}

// Check fails with Invalid if, as things would be within tx, something else uses a volume that the server uses.
func Check(tx store.Tx) error {
	for _, r := range Collection.AllRev(tx, "") {
		if err := free(tx, r, fmt.Sprintf("storage volume %q in pool %q keeps the server's %s, so that it", r.Volume, r.Pool, r.Sort)); err != nil {
			return err
		}
	}
	return nil
}

// Busy fails with Invalid, within tx, while a project has a volume of its own: it cannot be renamed or deleted then.
func Busy(tx store.Tx, proj string) error {
	for _, r := range Collection.AllRev(tx, "") {
		if r.Project == proj {
			return errs.Newf(errs.Invalid, "project %q keeps its %s in volume %q of pool %q: unset %s first", proj, r.Sort, r.Volume, r.Pool, r.Place.Key())
		}
	}
	return nil
}
