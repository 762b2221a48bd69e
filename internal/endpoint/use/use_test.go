package use_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

// asked calls fn within a request of a caller.
func asked(t *testing.T, who auth.Identity, fn func(c *rest.Call) error) error {
	t.Helper()
	var err error
	s := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return who, nil }}
	s.SetPhase(rest.Serving)
	h := s.Handler([]rest.Route{rest.Get("GET /1.0/x", auth.Public, func(_ context.Context, c *rest.Call) (rest.None, any, error) {
		err = fn(c)
		return rest.None{}, nil, nil
	})})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/1.0/x", nil))
	return err
}

// jane may view one of each thing in the project p.
func jane() auth.Identity {
	var ps []model.Permission
	for entity, url := range map[string]string{"profile": "/1.0/profiles/a", "network": "/1.0/networks/a", "network_acl": "/1.0/network-acls/a",
		"storage_volume": "/1.0/storage-pools/s/volumes/custom/a", "image": "/1.0/images/a"} {
		ps = append(ps, model.Permission{Entity: entity, URL: url + "?project=p", Entitlement: "can_view"})
	}
	return auth.Identity{Kind: auth.TLS, FineGrained: true, Rights: model.Compile(ps)}
}

func device(keys ...string) use.Devices {
	d := map[string]string{}
	for i := 0; i < len(keys); i += 2 {
		d[keys[i]] = keys[i+1]
	}
	return use.Devices{"d": d}
}

func TestCheck(t *testing.T) {
	root := auth.Identity{Kind: auth.Unix, Admin: true, FineGrained: true}
	restricted := auth.Identity{Kind: auth.TLS}
	for name, c := range map[string]struct {
		who       auth.Identity
		next, now use.Refs
		ok        bool
	}{
		"nothing":                        {jane(), use.Refs{}, use.Refs{}, true},
		"profile that is seen":           {jane(), use.Refs{Profiles: []string{"a"}}, use.Refs{}, true},
		"profile that is not":            {jane(), use.Refs{Profiles: []string{"a", "b"}}, use.Refs{}, false},
		"profile that was there":         {jane(), use.Refs{Profiles: []string{"a", "b"}}, use.Refs{Profiles: []string{"b"}}, true},
		"network that is seen":           {jane(), use.Refs{Devices: device("type", "nic", "network", "a")}, use.Refs{}, true},
		"network that is not":            {jane(), use.Refs{Devices: device("type", "nic", "network", "b")}, use.Refs{}, false},
		"network of the device before":   {jane(), use.Refs{Devices: device("type", "nic", "network", "b", "hwaddr", "x")}, use.Refs{Devices: device("type", "nic", "network", "b")}, true},
		"ACL that is not seen":           {jane(), use.Refs{Devices: device("type", "nic", "parent", "x", "security.acls", "a, b")}, use.Refs{}, false},
		"ACL of a network":               {jane(), use.Refs{ACLs: "b"}, use.Refs{}, false},
		"ACL of a network, seen":         {jane(), use.Refs{ACLs: "a"}, use.Refs{}, true},
		"volume that is seen":            {jane(), use.Refs{Devices: device("type", "disk", "pool", "s", "source", "a")}, use.Refs{}, true},
		"snapshot of a volume":           {jane(), use.Refs{Devices: device("type", "disk", "pool", "s", "source", "a/snap")}, use.Refs{}, true},
		"volume that is not":             {jane(), use.Refs{Devices: device("type", "disk", "pool", "s", "source", "b")}, use.Refs{}, false},
		"volume of another pool":         {jane(), use.Refs{Devices: device("type", "disk", "pool", "t", "source", "a")}, use.Refs{}, false},
		"folder and root disk":           {jane(), use.Refs{Devices: device("type", "disk", "source", "/b")}, use.Refs{}, true},
		"administrator by its rights":    {root, use.Refs{Profiles: []string{"b"}}, use.Refs{}, true},
		"restricted to projects":         {restricted, use.Refs{Profiles: []string{"b"}}, use.Refs{}, true},
		"somebody without any rights":    {auth.Identity{Kind: auth.TLS, FineGrained: true}, use.Refs{Profiles: []string{"a"}}, use.Refs{}, false},
		"name that is written otherwise": {jane(), use.Refs{Profiles: []string{"a/../a"}}, use.Refs{}, false},
	} {
		c.next.Project, c.now.Project = "p", "p"
		err := asked(t, c.who, func(call *rest.Call) error { return use.Check(call, c.next, c.now) })
		if (err == nil) != c.ok || err != nil && !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImage(t *testing.T) {
	for name, c := range map[string]struct {
		img  api.Image
		err  error
		want string
	}{
		"seen":     {api.Image{Fingerprint: "a"}, nil, ""},
		"hidden":   {api.Image{Fingerprint: "b"}, nil, `image "ref" not found in project "p"`},
		"public":   {api.Image{Fingerprint: "b", Public: true}, nil, ""},
		"missing":  {api.Image{}, errs.Newf(errs.NotFound, "gone"), `image "ref" not found in project "p"`},
		"anything": {api.Image{}, errs.Newf(errs.Invalid, "no such word"), "no such word"},
	} {
		err := asked(t, jane(), func(call *rest.Call) error {
			return use.Image(call, "p", "ref", func() (api.Image, error) { return c.img, c.err })
		})
		if got := errText(err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	err := asked(t, auth.Identity{Kind: auth.TLS}, func(call *rest.Call) error {
		return use.Image(call, "p", "ref", func() (api.Image, error) { t.Error("asked for nothing"); return api.Image{}, nil })
	})
	if err != nil {
		t.Error(err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
