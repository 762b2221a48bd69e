package use

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/rest"
)

// Source is where instances are read.
type Source interface {
	Writable(ctx context.Context, project, name string) (put api.InstancePut, etag any, err error)
	GetSnapshot(ctx context.Context, project, name, snapshot string) (s api.InstanceSnapshot, etag any, err error)
	Image(ctx context.Context, project, ref string) (api.Image, error)
}

// Instances checks what instances refer to, and are made from.
type Instances struct{ Source }

// Create checks what an instance is to be made with and from.
func (h Instances) Create(ctx context.Context, c *rest.Call, in api.InstancesPost) error {
	if err := Check(c, Refs{Project: c.Project, Profiles: in.Profiles, Devices: in.Devices}, Refs{}); err != nil {
		return err
	}
	if in.Source.Refresh {
		if err := h.replace(ctx, c, in.Name); err != nil {
			return err
		}
	}
	if in.Source.Type == api.SourceTypeCopy {
		return h.copies(ctx, c, in)
	}
	if err := h.Image(c, in.Source); err != nil {
		return err
	}
	return h.given(ctx, c, in)
}

// replace checks that the caller may edit an instance that is to become what another one is, if it is there.
func (h Instances) replace(ctx context.Context, c *rest.Call, name string) error {
	if !Judged(c) {
		return nil
	}
	_, _, err := h.Source.Writable(ctx, c.Project, name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.Check(auth.Can("instance", "can_edit"), object(c.Project, name))
}

// copies checks the source of a copy: who copies sees all of it, and uses what it uses, in the project where the copy will be.
func (h Instances) copies(ctx context.Context, c *rest.Call, in api.InstancesPost) error {
	from := cmp.Or(in.Source.Project, c.Project)
	name, snapshot, _ := strings.Cut(in.Source.Source, "/")
	if err := c.Check(auth.Can("instance", "can_view"), object(from, name)); err != nil || !Judged(c) {
		return err
	}
	was, err := h.refs(ctx, from, name, snapshot)
	if err != nil {
		return err
	}
	return Check(c, inherited(was, c.Project, in.Profiles, in.Devices), Refs{})
}

// Move checks what an instance is to refer to by another name, or in another project.
func (h Instances) Move(ctx context.Context, c *rest.Call, name string, in api.InstancePost) error {
	to := cmp.Or(in.Project, c.Project)
	if to != c.Project {
		if err := c.Check(auth.Can("project", "can_create_instances"), auth.ProjectObject(to)); err != nil {
			return err
		}
	}
	if !Judged(c) {
		return nil
	}
	now, err := h.refs(ctx, c.Project, name, "")
	if err != nil {
		return err
	}
	return Check(c, inherited(now, to, in.Profiles, in.Devices), now)
}

// Change checks what an instance is to refer to that it does not refer to yet. What comes with a snapshot is no exception: it may be
// of another time, or of another server.
func (h Instances) Change(ctx context.Context, c *rest.Call, next api.InstancePut) error {
	if !Judged(c) {
		return nil
	}
	now, err := h.refs(ctx, c.Project, c.PathValue("name"), "")
	if err != nil {
		return err
	}
	if next.Restore != "" {
		was, err := h.refs(ctx, c.Project, c.PathValue("name"), strings.TrimPrefix(next.Restore, c.PathValue("name")+"/"))
		if err != nil {
			return err
		}
		return Check(c, inherited(was, c.Project, nil, nil), now)
	}
	return Check(c, Refs{Project: c.Project, Profiles: next.Profiles, Devices: next.Devices}, now)
}

// Profiles checks those that an image names, for instances that are made from it without naming any.
func Profiles(c *rest.Call, next, now []string) error {
	refs := inherited(Refs{Profiles: next}, c.Project, nil, nil)
	return Check(c, refs, Refs{Project: c.Project, Profiles: now})
}

// given checks the profiles that an instance gets from an image of another project, where the names mean other things.
func (h Instances) given(ctx context.Context, c *rest.Call, in api.InstancesPost) error {
	src := in.Source
	if !Judged(c) || in.Profiles != nil || src.Type != api.SourceTypeImage || src.Server != "" {
		return nil
	}
	img, err := h.Source.Image(ctx, c.Project, cmp.Or(src.Fingerprint, src.Alias))
	if err != nil || img.Project == c.Project {
		return nil //nolint:nilerr // what is missing gives nothing
	}
	return Profiles(c, img.Profiles, nil)
}

// Image checks the image of this server that a source names.
func (h Instances) Image(c *rest.Call, src api.InstanceSource) error {
	if src.Type != api.SourceTypeImage || src.Server != "" {
		return nil
	}
	ref := cmp.Or(src.Fingerprint, src.Alias)
	return Image(c, c.Project, ref, func() (api.Image, error) { return h.Source.Image(c.Context(), c.Project, ref) })
}

// Arrive checks what an instance refers to that comes from elsewhere.
func Arrive(c *rest.Call, in api.InstancesPost) error {
	return Check(c, inherited(Refs{Profiles: in.Profiles, Devices: in.Devices}, c.Project, nil, nil), Refs{})
}

// object is an instance.
func object(in, name string) auth.Object {
	return auth.Object{Project: in, URL: "/1.0/instances/" + url.PathEscape(name)}
}

// refs is what an instance refers to, or what it did when the snapshot was taken that is named.
func (h Instances) refs(ctx context.Context, in, name, snapshot string) (Refs, error) {
	if snapshot != "" {
		s, _, err := h.Source.GetSnapshot(ctx, in, name, snapshot)
		return Refs{Project: in, Profiles: s.Profiles, Devices: s.Devices}, err
	}
	put, _, err := h.Source.Writable(ctx, in, name)
	return Refs{Project: in, Profiles: put.Profiles, Devices: put.Devices}, err
}

// inherited is what something refers to that is made of another one in a project. The default profile is for all who may make instances
// there, as long as they do not name it.
func inherited(from Refs, to string, profiles []string, devices Devices) Refs {
	all := maps.Clone(from.Devices)
	if all == nil {
		all = Devices{}
	}
	maps.Copy(all, devices)
	if profiles == nil {
		profiles = slices.DeleteFunc(slices.Clone(from.Profiles), func(name string) bool { return name == project.Default })
	}
	return Refs{Project: to, Profiles: profiles, Devices: all}
}
