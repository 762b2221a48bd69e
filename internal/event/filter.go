package event

import (
	"slices"

	"lxd/api"
)

// Types lists the types that exist.
func Types() []string { return []string{Logging, Operation, Lifecycle, OVN} }

// Match tells whether a listener with this filter wants ev.
func (f Filter) Match(ev api.Event) bool {
	if f.Types != nil && !slices.Contains(f.Types, ev.Type) || f.Only != nil && !f.Only(ev) {
		return false
	}
	if ev.Project == "" {
		return !f.ProjectOnly
	}
	return f.AllProjects || ev.Project == f.Project
}
