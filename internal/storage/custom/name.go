package custom

import (
	"slices"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// Name says which volume is meant. Project is the one that owns it.
type Name struct{ Pool, Project, Name string }

func parse(key string) Name {
	p := strings.Split(key, "/") // POOL/custom/PROJECT/NAME
	return Name{p[0], p[2], p[3]}
}

// Key is the key of the volume's record.
func (n Name) Key() string { return n.key() }

// Lock is the name under which operations on the volume exclude each other.
func (n Name) Lock() string { return n.lock() }

// Path is the address of something of the volume, without the project.
func (n Name) Path(more ...string) string { return project.URL("", n.segments(more...)...) }

func (n Name) key() string { return storage.CustomKey(n.Pool, n.Project, n.Name) }

// volume is the volume as its pool knows it.
func (n Name) volume() storage.Volume {
	return storage.Volume{Type: storage.CustomVolume, Project: n.Project, Name: n.Name}
}

// lock is the name under which operations on the volume exclude each other.
func (n Name) lock() string {
	return "storage volume " + n.Pool + "/" + n.Project + "/" + n.Name
}

func (n Name) segments(more ...string) []string {
	return append([]string{"storage-pools", n.Pool, "volumes", string(storage.CustomVolume), n.Name}, more...)
}

// URL is the volume's address.
func (n Name) URL() string { return project.URL(n.Project, n.segments()...) }

// path is the address without the project.
func (n Name) path() string { return project.URL("", n.segments()...) }

// CheckName fails with Invalid on a name that a volume may not have: it becomes the name of a folder, and part of URLs.
func CheckName(name string) error {
	const most = 200
	bad := func(why string) error {
		return errs.Newf(errs.Invalid, "invalid storage volume name %q: %s", name, why)
	}
	switch {
	case name == "":
		return bad("it is empty")
	case len(name) > most:
		return bad("it is longer than 200 characters")
	case name[0] == '.' || name[0] == '-':
		return bad("it may not start with a dot or a hyphen")
	case strings.HasSuffix(name, ".fill"):
		return bad("names that end in .fill are the server's")
	case strings.ContainsAny(name, "/\\?#%&+\"'*@ "):
		return bad("slashes, spaces, quotes and ? # % & + * @ are not allowed")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }):
		return bad("control characters are not allowed")
	}
	return nil
}

// instances are the keys of the instances among the users of a volume, and of those that use it through a profile.
func instances(tx store.Tx, users []store.Ref) (keys []string) {
	for _, u := range users {
		switch u.Collection {
		case "instance":
			keys = append(keys, u.Key)
		case profile.Collection.Name:
			keys = append(keys, instances(tx, profile.Collection.UsedBy(tx, u.Key))...)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
