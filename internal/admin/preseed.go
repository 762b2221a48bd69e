package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/undo"
)

// maxPreseed bounds what is read from standard input.
const maxPreseed = 1 << 20

// preseed is what "lxd init" can set up on one server.
type preseed struct {
	api.InitLocalPreseed `yaml:",inline"`

	Cluster *api.InitClusterPreseed `json:"cluster,omitempty" yaml:"cluster,omitempty"`
}

func parsePreseed(in io.Reader) (preseed, error) {
	var p preseed
	b, err := io.ReadAll(io.LimitReader(in, maxPreseed+1))
	if err != nil {
		return p, err
	}
	if len(b) > maxPreseed {
		return p, errs.Newf(errs.Invalid, "the preseed is larger than 1 MiB: it should hold a few pages of YAML")
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		if errors.Is(err, io.EOF) {
			return p, errs.Newf(errs.Invalid, "the preseed is empty: give it on standard input, such as lxd init --preseed < preseed.yaml")
		}
		return p, errs.Newf(errs.Invalid, "the preseed cannot be read: %w", err)
	}
	if p.Cluster != nil && p.Cluster.Enabled {
		return p, errs.Newf(errs.Unsupported, "clusters are not supported yet: remove \"cluster\" from the preseed")
	}
	for _, v := range p.StorageVolumes {
		if v.Pool == "" || v.Name == "" {
			return p, errs.Newf(errs.Invalid, "storage volume %q of the preseed needs a name and a pool", v.Name)
		}
	}
	return p, nil
}

// item is one object of a preseed and how it gets to the server.
type item struct {
	what, collection, name, project string
	// create is the body of POST; update changes what the server has now and returns the body of PUT, nil for no change.
	create any
	update func(ctx context.Context, s Server, path string) (body any, etag string, err error)
}

// apply makes the server have what want says. What exists is brought to it. On failure everything is put back.
func apply(ctx context.Context, s Server, want preseed) (err error) {
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	first, last := inOrder(want.Config)
	if err := applyConfig(ctx, s, &u, first); err != nil {
		return err
	}
	for _, i := range items(want) {
		if err := i.apply(ctx, s, &u); err != nil {
			return fmt.Errorf("%s %q: %w", i.what, i.name, err)
		}
	}
	return applyConfig(ctx, s, &u, last)
}

// inOrder parts a configuration: last are the keys that name volumes, which have to be there before.
func inOrder(config map[string]any) (first, last map[string]any) {
	first, last = map[string]any{}, map[string]any{}
	for k, v := range config {
		if strings.HasPrefix(k, "storage.") && strings.HasSuffix(k, "_volume") {
			last[k] = v
			continue
		}
		first[k] = v
	}
	return first, last
}

func applyConfig(ctx context.Context, s Server, u *undo.Stack, config map[string]any) error {
	if len(config) == 0 {
		return nil
	}
	var now api.Server
	if _, err := s.Get(ctx, "/1.0", &now); err != nil {
		return err
	}
	set, back := map[string]string{}, map[string]string{}
	for k, v := range config {
		set[k] = fmt.Sprint(v)
		if old, ok := now.Config[k]; ok {
			back[k] = fmt.Sprint(old)
		} else {
			back[k] = ""
		}
	}
	if err := s.Do(ctx, "PATCH", "/1.0", map[string]any{"config": set}, ""); err != nil {
		return fmt.Errorf("server configuration: %w", err)
	}
	u.Add("server configuration", func(ctx context.Context) error {
		return s.Do(ctx, "PATCH", "/1.0", map[string]any{"config": back}, "")
	})
	return nil
}

// items lists the objects in the order of their dependence.
func items(want preseed) (all []item) {
	for _, p := range want.Projects {
		all = append(all, item{"project", "/1.0/projects", p.Name, "", p, merge(p.Config, p.Description)})
	}
	for _, p := range want.StoragePools {
		all = append(all, item{"storage pool", "/1.0/storage-pools", p.Name, "", p, merge(p.Config, p.Description)})
	}
	for _, v := range want.StorageVolumes {
		post := v.StorageVolumesPost
		post.Type = cmp.Or(post.Type, "custom")
		all = append(all, item{"storage volume", "/1.0/storage-pools/" + url.PathEscape(v.Pool) + "/volumes/" + url.PathEscape(post.Type), v.Name, v.Project,
			post, merge(v.Config, v.Description)})
	}
	for _, n := range want.Networks {
		all = append(all, item{"network", "/1.0/networks", n.Name, n.Project, n.NetworksPost, merge(n.Config, n.Description)})
	}
	for _, p := range want.Profiles {
		all = append(all, item{"profile", "/1.0/profiles", p.Name, "", p, mergeProfile(p)})
	}
	return all
}

func (i item) path() string {
	p := i.collection + "/" + url.PathEscape(i.name)
	if i.project != "" {
		p += "?project=" + url.QueryEscape(i.project)
	}
	return p
}

func (i item) apply(ctx context.Context, s Server, u *undo.Stack) error {
	var now map[string]any
	_, err := s.Get(ctx, i.path(), &now)
	if errs.Is(err, errs.NotFound) {
		target := i.collection
		if i.project != "" {
			target += "?project=" + url.QueryEscape(i.project)
		}
		if err := s.Do(ctx, "POST", target, i.create, ""); err != nil {
			return err
		}
		u.Add(i.what, func(ctx context.Context) error { return s.Do(ctx, "DELETE", i.path(), nil, "") })
		return nil
	}
	if err != nil {
		return err
	}
	body, etag, err := i.update(ctx, s, i.path())
	if err != nil {
		return err
	}
	if err := s.Do(ctx, "PUT", i.path(), body, etag); err != nil {
		return err
	}
	u.Add(i.what, func(ctx context.Context) error { return s.Do(ctx, "PUT", i.path(), now, "") })
	return nil
}

// merge updates an object that has a configuration and a description: keys that the preseed does not name stay.
func merge(config map[string]string, description string) func(context.Context, Server, string) (any, string, error) {
	return func(ctx context.Context, s Server, path string) (any, string, error) {
		var now struct {
			Description string            `json:"description"`
			Config      map[string]string `json:"config"`
		}
		etag, err := s.Get(ctx, path, &now)
		if err != nil {
			return nil, "", err
		}
		if now.Config == nil {
			now.Config = map[string]string{}
		}
		maps.Copy(now.Config, config)
		if description != "" {
			now.Description = description
		}
		return now, etag, nil
	}
}

func mergeProfile(p api.ProfilesPost) func(context.Context, Server, string) (any, string, error) {
	return func(ctx context.Context, s Server, path string) (any, string, error) {
		var now api.ProfilePut
		etag, err := s.Get(ctx, path, &now)
		if err != nil {
			return nil, "", err
		}
		if now.Config == nil {
			now.Config = map[string]string{}
		}
		if now.Devices == nil {
			now.Devices = map[string]map[string]string{}
		}
		maps.Copy(now.Config, p.Config)
		maps.Copy(now.Devices, p.Devices)
		if p.Description != "" {
			now.Description = p.Description
		}
		return now, etag, nil
	}
}
