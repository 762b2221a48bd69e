package auth_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/user"
	"path/filepath"
	"slices"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/errs"
)

// granted is rights to a list of "URL:entitlement".
type granted []string

func (g granted) Allows(o auth.Object, entitlement string) bool {
	return slices.Contains(g, o.Entity+" "+o.URL+":"+entitlement)
}

func TestCheck(t *testing.T) {
	root := auth.Identity{Kind: auth.Unix, Admin: true}
	nobody := auth.Identity{}
	c1 := auth.Object{URL: "/1.0/instances/c1"}
	viewer := auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{"instance /1.0/instances/c1:can_view"}}
	stranger := auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{}}
	keeper := auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{
		"instance /1.0/instances/c1:can_manage_snapshots", "instance /1.0/instances/c1:can_manage_backups"}}
	restricted := auth.Identity{Kind: auth.TLS}
	edit, view := auth.Can("instance", "can_edit"), auth.Can("instance", "can_view")
	const ok = errs.Kind(255)
	for name, c := range map[string]struct {
		access auth.Access
		who    auth.Identity
		want   errs.Kind
	}{
		"admin edits":                               {edit, root, ok},
		"admin and nothing declared":                {auth.Access{}, root, errs.Forbidden},
		"nobody on public":                          {auth.Public, nobody, ok},
		"nobody on authenticated":                   {auth.Authenticated, nobody, errs.Forbidden},
		"nobody edits":                              {edit, nobody, errs.Forbidden},
		"viewer on authenticated":                   {auth.Authenticated, viewer, ok},
		"viewer views":                              {view, viewer, ok},
		"viewer edits what it sees":                 {edit, viewer, errs.Forbidden},
		"stranger edits what it may not":            {edit, stranger, errs.NotFound},
		"stranger views":                            {view, stranger, errs.NotFound},
		"restricted certificate":                    {edit, restricted, errs.Forbidden},
		"viewer, by the instance, views a snapshot": {auth.Can("instance_snapshot", "can_view"), viewer, ok},
		"viewer removes a snapshot":                 {auth.Can("instance_snapshot", "can_delete"), viewer, errs.Forbidden},
		"viewer takes all in a backup":              {auth.Can("instance_backup", "can_view"), viewer, errs.NotFound},
		"keeper removes a snapshot":                 {auth.Can("instance_snapshot", "can_delete"), keeper, ok},
		"keeper takes a backup":                     {auth.Can("instance_backup", "can_view"), keeper, ok},
		"stranger edits what all see":               {auth.Can("storage_pool", "can_edit"), stranger, errs.Forbidden},
		"stranger edits the server":                 {auth.Can("server", "can_edit"), stranger, errs.Forbidden},
	} {
		err := c.access.Check(c.who, c1)
		if (c.want == ok) != (err == nil) || err != nil && !errs.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListsHideItems(t *testing.T) {
	who := auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{"instance /1.0/instances/c1:can_view"}}
	a := auth.Can("instance", "can_view")
	if err := a.Enter(who); err != nil {
		t.Error(err)
	}
	if err := a.Enter(auth.Identity{}); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	if err := auth.Public.Enter(auth.Identity{}); err != nil {
		t.Error(err)
	}
	if !a.Sees(who, auth.Object{URL: "/1.0/instances/c1"}) || a.Sees(who, auth.Object{URL: "/1.0/instances/c2"}) {
		t.Error("the wrong items are hidden")
	}
	if !auth.Authenticated.Sees(who, auth.Object{}) {
		t.Error("an access without entitlement hides items")
	}
}

func TestValid(t *testing.T) {
	for _, c := range []struct {
		access auth.Access
		name   string
		ok     bool
	}{
		{auth.Public, "public", true},
		{auth.Authenticated, "authenticated", true},
		{auth.Can("server", "can_edit"), "server:can_edit", true},
		{auth.Can("storage_volume_backup", "can_view"), "storage_volume_backup:can_view", true},
		{auth.Access{}, "undeclared", false},
		{auth.Can("server", "can_fly"), "server:can_fly", false},
		{auth.Can("instance_snapshot", "can_exec"), "instance_snapshot:can_exec", false},
		{auth.Can("spaceship", "can_view"), "spaceship:can_view", false},
	} {
		if (c.access.Valid() == nil) != c.ok || c.access.String() != c.name {
			t.Errorf("%s: %v", c.access, c.access.Valid())
		}
	}
	if !auth.Public.Open() || auth.Authenticated.Open() || auth.Can("image", "can_view").Entity() != "image" {
		t.Error("Open or Entity")
	}
}

func TestEntities(t *testing.T) {
	if len(auth.Entities()) != 17 || !slices.Contains(auth.Entitlements("instance"), "can_exec") {
		t.Error(auth.Entities())
	}
	if !auth.InProject("image_alias") || auth.InProject("storage_pool") || auth.InProject("server") {
		t.Error("InProject")
	}
}

// known are rights that know of one project.
type known struct{ granted }

func (known) Knows(project string) bool { return project == "p" }

func TestKnownProjects(t *testing.T) {
	viewer := auth.Identity{Kind: auth.TLS, Rights: granted{"project /1.0/projects/p:can_view"}}
	for name, c := range map[string]struct {
		who  auth.Identity
		want string
	}{
		"administrator": {auth.Identity{Kind: auth.Unix, Admin: true}, "defaultpq"},
		"nobody":        {auth.Identity{}, "default"},
		"knower":        {auth.Identity{Kind: auth.OIDC, Rights: known{}}, "defaultp"},
		"viewer":        {viewer, "defaultp"},
	} {
		got := ""
		for _, p := range []string{"default", "p", "q"} {
			if c.who.Knows(p) {
				got += p
			}
		}
		if got != c.want {
			t.Errorf("%s knows %q, want %q", name, got, c.want)
		}
	}
}

func TestUnixCallersAreAdministrators(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan auth.Identity, 1)
	srv := &http.Server{ConnContext: auth.ConnContext, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, err := auth.Identify(r)
		if err != nil {
			t.Error(err)
		}
		got <- id
	})}
	go srv.Serve(l)
	defer srv.Close()
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	if _, err := client.Get("http://unix/"); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if id := <-got; !id.Admin || id.Kind != auth.Unix || id.Name != me.Username || !id.Trusted() {
		t.Errorf("%+v", id)
	}
}

func TestOthersAreUntrusted(t *testing.T) {
	c, _ := net.Pipe()
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(auth.ConnContext(r.Context(), c))
	id, err := auth.Identify(r)
	if err != nil || id.Trusted() || id.Admin || id.Address == "" || id.May(auth.Object{}, "can_view") {
		t.Errorf("%+v %v", id, err)
	}
}
