// Package use refuses requests that refer to what their caller may not see: to use a thing is a way of seeing it.
//
// It asks only those with fine-grained rights. What an object refers to already may stay, since somebody else may have put it there; and
// so may what nobody named, such as the default profile of an instance whose request leaves its profiles out.
package use

import (
	"cmp"
	"net/url"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

// Devices are devices by name, with their configuration.
type Devices = map[string]map[string]string

// Refs is what an object of a project refers to.
type Refs struct {
	Project  string
	Profiles []string
	Devices  Devices
	// ACLs are names of network ACLs, separated by commas.
	ACLs string
}

// Check fails unless the caller may view what next refers to and now does not.
func Check(c *rest.Call, next, now Refs) error {
	if !Judged(c) {
		return nil
	}
	had := map[auth.Object]bool{}
	for _, o := range now.objects() {
		had[o] = true
	}
	for _, o := range next.objects() {
		if had[o] {
			continue
		}
		if err := c.Check(auth.Can(o.Entity, "can_view"), o); err != nil {
			return err
		}
	}
	return nil
}

// Judged tells whether the caller has fine-grained rights, and not all of them.
func Judged(c *rest.Call) bool { return c.Caller.FineGrained && !c.Caller.Admin }

// objects lists what is referred to.
func (r Refs) objects() (all []auth.Object) {
	add := func(entity string, path ...string) {
		for i, p := range path {
			path[i] = url.PathEscape(p)
		}
		all = append(all, auth.Object{Entity: entity, Project: r.Project, URL: "/1.0/" + strings.Join(path, "/")})
	}
	acls := func(names string) {
		for name := range strings.SplitSeq(names, ",") {
			if name = strings.TrimSpace(name); name != "" {
				add("network_acl", "network-acls", name)
			}
		}
	}
	for _, p := range r.Profiles {
		add("profile", "profiles", p)
	}
	acls(r.ACLs)
	for _, cfg := range r.Devices {
		switch source := cfg["source"]; {
		case cfg["type"] == "nic" && cfg["network"] != "":
			add("network", "networks", cfg["network"])
		case cfg["type"] == "disk" && cfg["pool"] != "" && source != "" && !strings.HasPrefix(source, "/"):
			name, _, _ := strings.Cut(source, "/")
			add("storage_volume", "storage-pools", cfg["pool"], "volumes", cmp.Or(cfg["source.type"], "custom"), name)
		}
		acls(cfg["security.acls"])
	}
	return all
}

// Image fails unless the caller may view the image that something is to be made from, or everybody may.
func Image(c *rest.Call, project, ref string, resolve func() (api.Image, error)) error {
	if !Judged(c) || ref == "" {
		return nil
	}
	img, err := resolve()
	o := auth.Object{Entity: "image", Project: project, URL: "/1.0/images/" + url.PathEscape(img.Fingerprint)}
	if err == nil && (img.Public || c.May(o, "can_view")) || err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	return errs.Newf(errs.NotFound, "image %q not found in project %q", ref, project)
}
