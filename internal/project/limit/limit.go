// Package limit judges what is in a project by the project's limits and restrictions. It knows only what it is given: the final
// objects, as they would be. Who may put which objects there, and when, is not its business, so that there is one answer for all ways.
package limit

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/project"
)

// Config is configuration by key.
type Config = map[string]string

// Devices are the configurations of devices by name.
type Devices = map[string]Config

// Instance is an instance with its profiles laid under it.
type Instance struct {
	Name    string
	VM      bool
	Config  Config
	Devices Devices
	// Settled says that it is as it was: it is counted, and judged no more.
	Settled bool
}

// Profile is a profile of the project.
type Profile struct {
	Name    string
	Config  Config
	Devices Devices
}

// Volume is a custom volume; Size is its configured size.
type Volume struct{ Name, Pool, Size string }

// Network is a network of the project.
type Network struct {
	Name, Type string
	Config     Config
	// Addresses4 and Addresses6 are how many addresses of its uplink it takes.
	Addresses4, Addresses6 int64
	// Settled says that it is as it was.
	Settled bool
}

// Objects are what is in a project.
type Objects struct {
	Instances []Instance
	Profiles  []Profile
	Volumes   []Volume
	Networks  []Network
	// Images are the bytes of all images.
	Images int64
	// Snapshots and Backups name those that are new.
	Snapshots, Backups []string
	// Sizes are the sizes that volumes have in each pool unless they say otherwise.
	Sizes map[string]string
}

// Violation is one thing that is not allowed.
type Violation struct {
	// Key is the project's key that forbids it; "" is no key that could allow it.
	Key string
	// Object is what is at fault, such as `instance "c1"`.
	Object string
	// What is wrong, and Do is what can be done about it.
	What, Do string
	// Amount is by what a sum that is too large is known; two violations that differ in this alone are of the same thing.
	Amount int64
}

// same tells whether v was there before, and was no better.
func (v Violation) same(before Violation) bool {
	return v.Key == before.Key && v.Object == before.Object && v.What == before.What && v.Amount <= before.Amount
}

// Error says what is forbidden, by which key, and what to do.
func (v Violation) Error() string {
	what := v.What
	if v.Amount != 0 {
		what = fmt.Sprintf(what, v.Amount)
	}
	text := v.Object + ": " + what
	if v.Object == "" {
		text = what
	}
	return text + ": " + v.Do
}

// Applies tells whether a project's configuration holds anything back at all, so that there is something to judge.
func Applies(config Config) bool { return restricted(config) || Counts(config) }

// Counts tells whether it has limits, so that everything in the project has to be counted.
func Counts(config Config) bool {
	for key, v := range config {
		if v != "" && strings.HasPrefix(key, "limits.") {
			return true
		}
	}
	return false
}

func restricted(config Config) bool { return project.Keys.Bool(config, "restricted") }

// Judge lists what a project's configuration forbids of its objects.
func Judge(config Config, o Objects) (all []Violation) {
	if restricted(config) {
		all = rules{config}.judge(o)
	}
	if Counts(config) {
		all = append(all, exceeded(config, o)...)
	}
	return all
}

// New lists those violations that were not there before: what was so already is not held against a change of something else.
func New(after, before []Violation) (all []Violation) {
	for _, v := range after {
		if !slices.ContainsFunc(before, v.same) {
			all = append(all, v)
		}
	}
	return all
}

// Refuse is the error for violations in a project, nil for none.
func Refuse(name string, all []Violation) error {
	var list []error
	for i, v := range all {
		if i == 5 {
			list = append(list, fmt.Errorf("and %d more", len(all)-i))
			break
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil
	}
	text := strings.ReplaceAll(errors.Join(list...).Error(), "\n", "; ")
	return errs.Newf(errs.Forbidden, "project %q does not allow this: %s", name, text)
}

// rules are the restrictions of a project that is restricted.
type rules struct{ config Config }

func (r rules) says(key string) string { return project.Keys.Get(r.config, key) }

// list is the value of a key that is a list; "block" is an empty one.
func (r rules) list(key string) (all []string) {
	for v := range strings.SplitSeq(r.says(key), ",") {
		if v = strings.TrimSpace(v); v != "" && v != "block" {
			all = append(all, v)
		}
	}
	return all
}

func (r rules) judge(o Objects) (all []Violation) {
	for _, i := range o.Instances {
		if !i.Settled {
			all = append(all, r.instance(i)...)
		}
	}
	for _, p := range o.Profiles {
		all = append(all, r.profile(p)...)
	}
	for _, n := range o.Networks {
		if !n.Settled {
			all = append(all, r.network(n)...)
		}
	}
	all = append(all, r.made("restricted.snapshots", "snapshot", o.Snapshots)...)
	return append(all, r.made("restricted.backups", "backup", o.Backups)...)
}

// made refuses new objects of a kind that is blocked.
func (r rules) made(key, noun string, names []string) (all []Violation) {
	if r.says(key) == "allow" {
		return nil
	}
	for _, n := range names {
		all = append(all, r.no(key, fmt.Sprintf("%s %q", noun, n), "it cannot be made", "allow"))
	}
	return all
}

// no is a violation that goes away if the key has another value.
func (r rules) no(key, object, what, value string) Violation {
	is := r.says(key)
	if is == "" {
		is = "not set"
	}
	return Violation{Key: key, Object: object, What: what,
		Do: fmt.Sprintf("the project's %s is %s; leave it out, or have an administrator set that to %s", key, is, value)}
}

// never is a violation that goes away only if the project is restricted no more.
func never(object, what string) Violation {
	return Violation{Object: object, What: what, Do: "no restricted project can have it; leave it out"}
}

// Target says whether an instance of the project may be put on a member, or on one of a cluster group ("@GROUP"), that a client names.
func Target(config Config, target string) []Violation {
	r := rules{config}
	switch group, isGroup := strings.CutPrefix(target, "@"); {
	case target == "" || !restricted(config):
		return nil
	case isGroup:
		groups := r.list("restricted.cluster.groups")
		if len(groups) == 0 || slices.Contains(groups, group) {
			return nil
		}
		return []Violation{r.no("restricted.cluster.groups", "target "+target, "instances cannot be put on it", "a list with "+group)}
	case r.says("restricted.cluster.target") == "allow":
		return nil
	}
	return []Violation{r.no("restricted.cluster.target", "target "+target, "instances cannot be put on it", "allow")}
}
