package network

import (
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// maxName is what the kernel allows an interface's name.
const maxName = 15

// Record is a managed network as stored.
type Record struct {
	Project     string            `json:"project"`
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Description string            `json:"description,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
	// Stage tells what a crash cut short.
	Stage Stage `json:"stage,omitempty"`
}

// Stage is where a network is in its life.
type Stage string

// Stages.
const (
	// Made is the stage of a network that is complete.
	Made Stage = ""
	// Making is the stage until it was up once: recovery removes it.
	Making Stage = "making"
	// Removing is the stage from when it is taken down: recovery finishes that.
	Removing Stage = "removing"
)

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: "network",
	Key:  func(r Record) string { return Key(r.Project, r.Name) },
	Refs: func(r Record) []store.Ref { return append([]store.Ref{project.Ref(r.Project)}, aclRefs(r)...) },
}

// Key is a record's key.
func Key(project, name string) string { return project + "/" + name }

// URL is the network's address. Networks of the default project serve others too, so that the address names no project.
func URL(name string) string { return project.URL("", "networks", name) }

// ETag is the part of the record that If-Match guards.
func (r Record) ETag() any { return []any{r.Name, true, r.Type, r.Description, r.Config} }

// show is the record as clients of a project see it.
func (r Record) show(status, project string, usedBy []string) api.Network {
	n := api.Network{
		Name: r.Name, Description: r.Description, Type: r.Type, Managed: true, Status: status, Config: r.Config, UsedBy: usedBy,
		Locations: []string{standalone}, Project: project,
	}
	if n.Config == nil {
		n.Config = map[string]string{}
	}
	return n
}

// CheckName fails with Invalid on a name that a network, and so an interface, may not have.
func CheckName(name string) error {
	switch {
	case name == "":
		return errs.Newf(errs.Invalid, "network name is missing")
	case len(name) < 2 || len(name) > maxName:
		return errs.Newf(errs.Invalid, "network name %q must have 2 to %d characters, as it names an interface", name, maxName)
	case name == "lo" || name == "all" || name == "default" || name == "..":
		return errs.Newf(errs.Invalid, "network name %q is reserved by the kernel: choose another", name)
	case strings.HasPrefix(name, "-"):
		return errs.Newf(errs.Invalid, "network name %q must not begin with a hyphen", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !inName(r) }); i >= 0 {
		return errs.Newf(errs.Invalid, "network name %q has %q in it: use letters, digits, and . _ -", name, name[i:i+1])
	}
	return nil
}

func inName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
}

func change(action string, r Record) event.Change {
	return event.Change{Action: action, Source: URL(r.Name), Project: r.Project, Name: r.Name}
}
