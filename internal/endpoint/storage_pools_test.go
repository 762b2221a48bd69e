package endpoint_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/endpoint"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/store"
)

func newStorageWorld(t *testing.T) (*world, *storage.Service) {
	t.Helper()
	st := store.NewMem(store.Options{})
	t.Cleanup(func() { st.Close() })
	if err := st.Update(t.Context(), func(tx store.Tx) error {
		return project.Collection.Insert(tx, project.Record{Name: project.Default})
	}); err != nil {
		t.Fatal(err)
	}
	svc := storage.New(storage.Deps{Store: st, Drivers: []storage.Driver{mem.New("dir")}, Dir: t.TempDir(), Location: "none"})
	w := &world{who: auth.Identity{Kind: auth.Unix, Name: "root", Admin: true}, ops: op.NewManager(t.Context(), op.Options{Store: st})}
	srv := &rest.Server{Self: "none", Ops: w.ops, Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil }}
	srv.SetPhase(rest.Serving)
	w.Server = httptest.NewServer(srv.Handler(endpoint.Operations(w.ops), endpoint.StoragePools(svc), endpoint.StorageVolumes(svc, custom.New(t.Context(), custom.Deps{Store: st, Pools: svc}), nil, nil)))
	t.Cleanup(w.Close)
	return w, svc
}

func TestStoragePools(t *testing.T) {
	w, svc := newStorageWorld(t)
	a := w.do(t, "POST", "/1.0/storage-pools", `{"name":"p","driver":"dir","config":{"user.a":"1"}}`)
	if a.HTTP != 201 || a.Header.Get("Location") != "/1.0/storage-pools/p" {
		t.Errorf("create: %+v", a)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"POST", "/1.0/storage-pools", `{"name":"p","driver":"dir"}`, 409, "already exists"},
		{"POST", "/1.0/storage-pools", `{"name":"q","driver":"zfs"}`, 400, "choose one of dir"},
		{"POST", "/1.0/storage-pools", `{"name":"q","driver":"dir","config":{"x":"y"}}`, 400, `"x"`},
		{"POST", "/1.0/storage-pools", `{"name`, 400, ""},
		{"GET", "/1.0/storage-pools/missing", "", 404, "missing"},
		{"GET", "/1.0/storage-pools/missing/resources", "", 404, "missing"},
		{"GET", "/1.0/storage-pools/missing/volumes", "", 404, "missing"},
		{"GET", "/1.0/storage-pools/p/volumes/odd", "", 400, "odd"},
		{"GET", "/1.0/storage-pools/p/volumes/container/c1", "", 404, "c1"},
		{"DELETE", "/1.0/storage-pools/missing", "", 404, "missing"},
		{"PUT", "/1.0/storage-pools/p", `{"config":{"source":"/x"}}`, 400, "cannot change"},
	} {
		if a := w.do(t, c.method, c.path, c.body); a.HTTP != c.code || !strings.Contains(a.Error, c.text) {
			t.Errorf("%s %s %s: %d %q, want %d with %q", c.method, c.path, c.body, a.HTTP, a.Error, c.code, c.text)
		}
	}
	if err := svc.CreateEmpty(t.Context(), "p", storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: "c1"}); err != nil {
		t.Fatal(err)
	}
	if a := w.do(t, "DELETE", "/1.0/storage-pools/p", ""); a.HTTP != 400 || !strings.Contains(a.Error, "/1.0/instances/c1") {
		t.Errorf("delete in use: %+v", a)
	}
	var urls []string
	w.do(t, "GET", "/1.0/storage-pools", "").into(t, &urls)
	if len(urls) != 1 || urls[0] != "/1.0/storage-pools/p" {
		t.Errorf("list: %v", urls)
	}
	var vols []api.StorageVolume
	w.do(t, "GET", "/1.0/storage-pools/p/volumes?recursion=1", "").into(t, &vols)
	if len(vols) != 1 || vols[0].Name != "c1" || vols[0].Pool != "p" || vols[0].UsedBy[0] != "/1.0/instances/c1" {
		t.Errorf("volumes: %+v", vols)
	}
	w.do(t, "GET", "/1.0/storage-pools/p/volumes/container", "").into(t, &urls)
	if len(urls) != 1 || urls[0] != "/1.0/storage-pools/p/volumes/container/c1" {
		t.Errorf("volumes: %v", urls)
	}
	var r api.ResourcesStoragePool
	w.do(t, "GET", "/1.0/storage-pools/p/resources", "").into(t, &r)
	if r.Space.Total != 1000 || r.Space.Used != 1 {
		t.Errorf("resources: %+v", r)
	}
}

func TestStoragePoolEdit(t *testing.T) {
	w, _ := newStorageWorld(t)
	w.do(t, "POST", "/1.0/storage-pools", `{"name":"p","driver":"dir","description":"d","config":{"user.a":"1"}}`)
	etag := w.do(t, "GET", "/1.0/storage-pools/p", "").Header.Get("ETag")
	if etag == "" {
		t.Error("no ETag")
	}
	if a := w.do(t, "PATCH", "/1.0/storage-pools/p", `{"config":{"user.b":"2"}}`); a.HTTP != 200 {
		t.Errorf("patch: %+v", a)
	}
	if a := w.do(t, "PUT", "/1.0/storage-pools/p", `{"config":{}}`, "If-Match", etag); a.HTTP != 412 {
		t.Errorf("stale put: %+v", a)
	}
	var p api.StoragePool
	w.do(t, "GET", "/1.0/storage-pools/p", "").into(t, &p)
	if p.Description != "d" || p.Config["user.a"] != "1" || p.Config["user.b"] != "2" || p.Status != "Created" {
		t.Errorf("%+v", p)
	}
	if a := w.do(t, "DELETE", "/1.0/storage-pools/p", ""); a.HTTP != 200 {
		t.Errorf("delete: %+v", a)
	}
}

func TestRefreshOfAVolumeNeedsTheRightToEditIt(t *testing.T) {
	w, _ := newStorageWorld(t)
	const volumes = "/1.0/storage-pools/p/volumes/custom"
	w.must(t, 201, "POST", "/1.0/storage-pools", `{"name":"p","driver":"dir"}`)
	done := func(body string) {
		t.Helper()
		if o := w.finish(t, w.must(t, 202, "POST", volumes, body)); o.Err != "" {
			t.Fatal(o.Err)
		}
	}
	done(`{"name":"mine"}`)
	done(`{"name":"theirs"}`)
	may := func(ps ...model.Permission) {
		ps = append(ps, model.Permission{Entity: "project", URL: "/1.0/projects/default", Entitlement: "can_create_storage_volumes"},
			model.Permission{Entity: "storage_volume", URL: volumes + "/mine", Entitlement: "can_view"})
		w.who = auth.Identity{Kind: auth.TLS, Name: "joe", FineGrained: true, Rights: model.Compile(ps)}
	}
	const post = `{"name":"NAME","source":{"type":"copy","name":"mine","refresh":true}}`
	over, fresh := strings.Replace(post, "NAME", "theirs", 1), strings.Replace(post, "NAME", "new", 1)
	may()
	w.must(t, 404, "POST", volumes, over)
	done(fresh)
	may(model.Permission{Entity: "storage_volume", URL: volumes + "/theirs", Entitlement: "can_view"})
	w.must(t, 403, "POST", volumes, over)
	may(model.Permission{Entity: "storage_volume", URL: volumes + "/theirs", Entitlement: "can_edit"})
	done(over)
}
