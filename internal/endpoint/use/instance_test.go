package use_test

import (
	"context"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

// shelf has an instance c1 in each project, which refers to the volume in its field, and whose snapshot s refers to the hidden one.
type shelf struct{ volume string }

func attached(volume string) map[string]map[string]string {
	return map[string]map[string]string{"d": {"type": "disk", "pool": "s", "source": volume}}
}

func (s shelf) Writable(_ context.Context, _, name string) (api.InstancePut, any, error) {
	if name != "c1" {
		return api.InstancePut{}, nil, errs.Newf(errs.NotFound, "no instance %q", name)
	}
	return api.InstancePut{Profiles: []string{"default", "a"}, Devices: attached(s.volume)}, nil, nil
}

func (shelf) GetSnapshot(context.Context, string, string, string) (api.InstanceSnapshot, any, error) {
	return api.InstanceSnapshot{Profiles: []string{"default"}, Devices: attached("hidden")}, nil, nil
}

func (shelf) Image(_ context.Context, _, ref string) (api.Image, error) {
	switch ref {
	case "own":
		return api.Image{Fingerprint: ref, Public: true, Project: "default", Profiles: []string{"b"}}, nil
	case "shared":
		return api.Image{Fingerprint: ref, Public: true, Project: "other", Profiles: []string{"default", "b"}}, nil
	}
	return api.Image{Fingerprint: "hidden"}, nil
}

// joe may view some things in the project "default", make instances there and in q, and edit c2.
func joe() auth.Identity {
	ps := []model.Permission{
		{Entity: "profile", URL: "/1.0/profiles/a", Entitlement: "can_view"},
		{Entity: "storage_volume", URL: "/1.0/storage-pools/s/volumes/custom/a", Entitlement: "can_view"},
		{Entity: "instance", URL: "/1.0/instances/c1", Entitlement: "can_view"},
		{Entity: "project", URL: "/1.0/projects/default", Entitlement: "can_create_instances"},
		{Entity: "project", URL: "/1.0/projects/q", Entitlement: "can_create_instances"},
	}
	return auth.Identity{Kind: auth.TLS, FineGrained: true, Rights: model.Compile(ps)}
}

func copyOf(source string) api.InstancesPost {
	return api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: source}}
}

func post(source api.SourceType, profiles []string, devices use.Devices) api.InstancesPost {
	in := api.InstancesPost{Source: api.InstanceSource{Type: source}}
	in.Profiles, in.Devices = profiles, devices
	return in
}

func TestInstances(t *testing.T) {
	type try func(c *rest.Call, h use.Instances) error
	create := func(in api.InstancesPost) try {
		return func(c *rest.Call, h use.Instances) error { return h.Create(c.Context(), c, in) }
	}
	move := func(in api.InstancePost) try {
		return func(c *rest.Call, h use.Instances) error { return h.Move(c.Context(), c, "c1", in) }
	}
	change := func(in api.InstancePut) try {
		return func(c *rest.Call, h use.Instances) error {
			c.SetPathValue("name", "c1")
			return h.Change(c.Context(), c, in)
		}
	}
	arrive := func(in api.InstancesPost) try {
		return func(c *rest.Call, _ use.Instances) error { return use.Arrive(c, in) }
	}
	names := func(profiles ...string) try {
		return func(c *rest.Call, _ use.Instances) error { return use.Profiles(c, profiles, nil) }
	}
	refresh := copyOf("c1")
	refresh.Name, refresh.Source.Refresh = "c1", true
	fresh := copyOf("c1")
	fresh.Source.Refresh = true
	with := copyOf("c1")
	with.Devices = attached("a")
	for name, c := range map[string]struct {
		volume string
		do     try
		want   errs.Kind // Internal is no error
	}{
		"copy":                                  {"a", create(copyOf("c1")), errs.Internal},
		"copy of what uses a hidden volume":     {"hidden", create(copyOf("c1")), errs.NotFound},
		"copy with another volume instead":      {"hidden", create(with), errs.Internal},
		"copy of a snapshot that uses it":       {"a", create(copyOf("c1/s")), errs.NotFound},
		"copy of a hidden instance":             {"a", create(copyOf("c9")), errs.NotFound},
		"copy over what cannot be edited":       {"a", create(refresh), errs.Forbidden},
		"copy over nothing":                     {"a", create(fresh), errs.Internal},
		"migration":                             {"a", create(post("migration", nil, attached("a"))), errs.Internal},
		"migration with a hidden volume":        {"a", create(post("migration", nil, attached("hidden"))), errs.NotFound},
		"migration with a hidden profile":       {"a", create(post("migration", []string{"b"}, nil)), errs.NotFound},
		"hidden image":                          {"a", create(api.InstancesPost{Source: api.InstanceSource{Type: "image", Alias: "x"}}), errs.NotFound},
		"image with a profile":                  {"a", create(api.InstancesPost{Source: api.InstanceSource{Type: "image", Alias: "own"}}), errs.Internal},
		"image of others with a hidden profile": {"a", create(api.InstancesPost{Source: api.InstanceSource{Type: "image", Alias: "shared"}}), errs.NotFound},
		"profiles of an image":                  {"a", names("default", "a"), errs.Internal},
		"hidden profile of an image":            {"a", names("a", "b"), errs.NotFound},
		"rename":                                {"hidden", move(api.InstancePost{Name: "c2"}), errs.Internal},
		"move with a hidden volume":             {"a", move(api.InstancePost{Name: "c1", Devices: attached("hidden")}), errs.NotFound},
		"move with a hidden profile":            {"a", move(api.InstancePost{Name: "c1", Profiles: []string{"a", "b"}}), errs.NotFound},
		"move to where names mean other things": {"a", move(api.InstancePost{Name: "c1", Project: "q"}), errs.NotFound},
		"move to where nothing may be made":     {"a", move(api.InstancePost{Name: "c1", Project: "r"}), errs.NotFound},
		"change":                                {"hidden", change(api.InstancePut{Profiles: []string{"default"}, Devices: attached("hidden")}), errs.Internal},
		"change to a hidden volume":             {"a", change(api.InstancePut{Devices: attached("hidden")}), errs.NotFound},
		"restore":                               {"hidden", change(api.InstancePut{Restore: "s"}), errs.Internal},
		"restore of what used a hidden volume":  {"a", change(api.InstancePut{Restore: "c1/s"}), errs.NotFound},
		"backup":                                {"a", arrive(post("", []string{"default"}, attached("a"))), errs.Internal},
		"backup with a hidden volume":           {"a", arrive(post("", nil, attached("hidden"))), errs.NotFound},
		"backup with a hidden profile":          {"a", arrive(post("", []string{"b"}, nil)), errs.NotFound},
	} {
		h := use.Instances{Source: shelf{c.volume}}
		err := asked(t, joe(), func(call *rest.Call) error { return c.do(call, h) })
		if (err == nil) != (c.want == errs.Internal) || err != nil && !errs.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		admin := auth.Identity{Kind: auth.Unix, Admin: true}
		if err := asked(t, admin, func(call *rest.Call) error { return c.do(call, h) }); err != nil {
			t.Errorf("%s, by an administrator: %v", name, err)
		}
	}
}

func TestVolumesOfInstancesAreNotCustomOnes(t *testing.T) {
	err := asked(t, joe(), func(c *rest.Call) error {
		return use.Check(c, use.Refs{Project: "default", Devices: device("type", "disk", "pool", "s", "source", "a", "source.type", "virtual-machine")}, use.Refs{})
	})
	if !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}
