package identity_test

import (
	"slices"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/store"
)

// thing is a record of any sort.
type thing struct{ Key string }

func things(collection string) store.Collection[thing] {
	return store.Collection[thing]{Name: collection, Key: func(t thing) string { return t.Key }}
}

// on is the addresses that the group "g" has permissions on.
func (w *world) on(t *testing.T) (urls []string) {
	t.Helper()
	g, err := w.Group(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range g.Permissions {
		urls = append(urls, p.EntityReference)
	}
	return urls
}

func TestPermissionsFollowTheirObjects(t *testing.T) {
	for _, c := range []struct {
		entity, collection, from, to, url, next string
	}{
		{"project", "project", "p", "q", "/1.0/projects/p", "/1.0/projects/q"},
		{"storage_pool", "storage_pool", "s", "s2", "/1.0/storage-pools/s", "/1.0/storage-pools/s2"},
		{"image_alias", "image_alias", "default/u/24", "default/v", "/1.0/images/aliases/u%2F24?project=default", "/1.0/images/aliases/v?project=default"},
		{"instance", "instance", "p/c1", "p/c2", "/1.0/instances/c1?project=p", "/1.0/instances/c2?project=p"},
		{"instance", "instance", "p/c1", "default/c1", "/1.0/instances/c1?project=p", "/1.0/instances/c1?project=default"},
		{"network", "network", "default/n", "default/m", "/1.0/networks/n?project=default", "/1.0/networks/m?project=default"},
		{"network_acl", "network_acl", "p/n", "p/m", "/1.0/network-acls/n?project=p", "/1.0/network-acls/m?project=p"},
		{"network_zone", "network_zone", "p/n", "p/m", "/1.0/network-zones/n?project=p", "/1.0/network-zones/m?project=p"},
		{"placement_group", "placement_group", "p/n", "p/m", "/1.0/placement-groups/n?project=p", "/1.0/placement-groups/m?project=p"},
		{"profile", "profile", "p/n", "p/m", "/1.0/profiles/n?project=p", "/1.0/profiles/m?project=p"},
		{"storage_bucket", "storage_bucket", "s/p/b", "s/p/c", "/1.0/storage-pools/s/buckets/b?project=p", "/1.0/storage-pools/s/buckets/c?project=p"},
		{"storage_volume", "storage_volume", "s/custom/p/v", "t/custom/q/w", "/1.0/storage-pools/s/volumes/custom/v?project=p", "/1.0/storage-pools/t/volumes/custom/w?project=q"},
		{"certificate", "certificate", "f1", "f2", "/1.0/certificates/f1", "/1.0/certificates/f2"},
		{"identity", "certificate", "f1", "f2", "/1.0/auth/identities/tls/f1", "/1.0/auth/identities/tls/f2"},
		{"identity", "identity", "oidc/a@x", "oidc/b@x", "/1.0/auth/identities/oidc/a@x", "/1.0/auth/identities/oidc/b@x"},
		{"group", "auth_group", "h", "i", "/1.0/auth/groups/h", "/1.0/auth/groups/i"},
		{"identity_provider_group", "identity_provider_group", "/h", "i", "/1.0/auth/identity-provider-groups/%2Fh", "/1.0/auth/identity-provider-groups/i"},
		{"image", "image", "default/f1", "default/f2", "/1.0/images/f1?project=default", ""},
	} {
		t.Run(c.entity+" "+c.from, func(t *testing.T) {
			w := newWorld(t)
			col := things(c.collection)
			w.update(t, func(tx store.Tx) error { return col.Insert(tx, thing{c.from}) })
			w.group(t, "g", permission(c.entity, c.url, "can_edit"), permission("project", "/1.0/projects/default", "can_view"))
			w.update(t, func(tx store.Tx) error {
				if err := col.Delete(tx, c.from); err != nil {
					return err
				}
				return col.Insert(tx, thing{c.from})
			})
			if got := w.on(t); !slices.Contains(got, c.url) {
				t.Fatal("a record that was written anew lost its permissions", got)
			}
			w.update(t, func(tx store.Tx) error {
				if err := col.Insert(tx, thing{c.to}); err != nil {
					return err
				}
				return col.Delete(tx, c.from)
			})
			if got := w.on(t); slices.Contains(got, c.url) || c.next != "" && !slices.Contains(got, c.next) {
				t.Fatal("the permissions did not follow", got)
			}
			w.update(t, func(tx store.Tx) error { return col.Delete(tx, c.to) })
			w.update(t, func(tx store.Tx) error {
				if err := col.Insert(tx, thing{c.from}); err != nil {
					return err
				}
				return col.Insert(tx, thing{c.to})
			})
			if got := w.on(t); !slices.Equal(got, []string{"/1.0/projects/default"}) {
				t.Error("an object of the same name inherited", got)
			}
		})
	}
}

func (w *world) update(t *testing.T, fn func(store.Tx) error) {
	t.Helper()
	if err := w.store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyOneCanMoveAtATime(t *testing.T) {
	w := newWorld(t)
	col := things("instance")
	w.update(t, func(tx store.Tx) error { return col.Insert(tx, thing{"p/a"}) })
	w.update(t, func(tx store.Tx) error { return col.Insert(tx, thing{"p/b"}) })
	w.group(t, "g", permission("instance", "/1.0/instances/a?project=p", "can_edit"), permission("instance", "/1.0/instances/b?project=p", "can_edit"))
	w.update(t, func(tx store.Tx) error {
		for _, k := range []string{"p/a", "p/b"} {
			if err := col.Delete(tx, k); err != nil {
				return err
			}
		}
		return col.Insert(tx, thing{"p/c"})
	})
	if got := w.on(t); len(got) != 0 {
		t.Error("it is not known which of them it was", got)
	}
}

func TestFailedTransactionsTakeNothing(t *testing.T) {
	w := newWorld(t)
	col := things("instance")
	w.update(t, func(tx store.Tx) error { return col.Insert(tx, thing{"p/a"}) })
	w.group(t, "g", permission("instance", "/1.0/instances/a?project=p", "can_edit"))
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		if err := col.Delete(tx, "p/a"); err != nil {
			return err
		}
		return errs.Newf(errs.Invalid, "no")
	})
	if got := w.on(t); !errs.Is(err, errs.Invalid) || len(got) != 1 {
		t.Error(got, err)
	}
}

func TestPermissionsAreOnWhatExists(t *testing.T) {
	w := newWorld(t)
	create := func(p api.Permission) error {
		return w.CreateGroup(t.Context(), api.AuthGroupsPost{AuthGroupPost: api.AuthGroupPost{Name: "g"}, AuthGroupPut: api.AuthGroupPut{Permissions: []api.Permission{p}}})
	}
	for _, p := range []api.Permission{
		permission("instance", "/1.0/instances/nosuch", "can_view"), permission("project", "/1.0/projects/nosuch", "can_view"),
		permission("identity", "/1.0/auth/identities/tls/laptop", "can_view"), permission("server", "/1.0", "can_fly"),
		permission("spaceship", "/1.0", "admin"), permission("instance", "/1.0/projects/default", "can_view"), {},
		permission("instance", "/1.0/instances/..%2F..", "can_view"), permission("network_zone", "/1.0/network-zones/z", "can_view"),
	} {
		if err := create(p); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if err := create(permission("project", "/1.0/projects/default", "can_view")); err != nil {
		t.Fatal(err)
	}
	if err := create(permission("server", "/1.0", "admin")); !errs.Is(err, errs.Conflict) {
		t.Error("a group of that name is there", err)
	}
}
