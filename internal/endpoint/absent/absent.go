// Package absent answers for what this server has none of: its lists are empty, a single one is not found, and making one is refused
// with what can be done instead.
package absent

import (
	"context"
	"iter"
	"net/http"
	"reflect"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

// Routes is the routes of network zones, placement groups and buckets. pool fails unless there is a storage pool of that name.
func Routes(pool func(ctx context.Context, name string) error) (all []rest.Route) {
	zones := kind{what: "network zone", entity: "network_zone", create: "can_create_network_zones", name: "zone"}
	all = append(all, collection[api.NetworkZone, api.NetworkZonesPost, api.NetworkZonePut](zones, "/1.0/network-zones")...)
	all = append(all, parts[api.NetworkZoneRecord, api.NetworkZoneRecordsPost, api.NetworkZoneRecordPut](zones, "/1.0/network-zones/{zone}/records")...)

	groups := kind{what: "placement group", entity: "placement_group", create: "can_create_placement_groups", name: "name"}
	const group = "/1.0/placement-groups"
	all = append(all, collection[api.PlacementGroup, api.PlacementGroupsPost, api.PlacementGroupPut](groups, group)...)
	all = append(all, rest.Create("POST "+group+"/{name}", auth.Can(groups.entity, "can_edit"), missing[api.PlacementGroupPost, string](groups)))

	buckets := kind{what: "storage bucket", entity: "storage_bucket", create: "can_create_storage_buckets", name: "bucketName",
		within: func(ctx context.Context, c *rest.Call) error { return pool(ctx, c.PathValue("poolName")) }}
	const bucket = "/1.0/storage-pools/{poolName}/buckets"
	all = append(all, collection[api.StorageBucket, api.StorageBucketsPost, api.StorageBucketPut](buckets, bucket)...)
	keys := parts[api.StorageBucketKey, api.StorageBucketKeysPost, api.StorageBucketKeyPut](buckets, bucket+"/{bucketName}/keys")
	return append(all, keys...)
}

// kind is a sort of object that there is none of.
type kind struct {
	what, entity, create string
	// name is the part of the path that holds the object's.
	name string
	// within fails when that which would hold the objects does not exist; nil is for those that nothing holds.
	within func(context.Context, *rest.Call) error
}

func (k kind) missing(ctx context.Context, c *rest.Call) error {
	if k.within != nil {
		if err := k.within(ctx, c); err != nil {
			return err
		}
	}
	return errs.Newf(errs.NotFound, "%s %q not found", k.what, c.PathValue(k.name))
}

// missing is a handler for an object by its name.
func missing[In, Out any](k kind) func(context.Context, *rest.Call, In) (Out, error) {
	return func(ctx context.Context, c *rest.Call, _ In) (out Out, err error) { return out, k.missing(ctx, c) }
}

// collection is the routes of objects and of their list.
func collection[T, Post, Put any](k kind, path string) []rest.Route {
	one := path + "/{" + k.name + "}"
	view, edit := auth.Can(k.entity, "can_view"), auth.Can(k.entity, "can_edit")
	list := func(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[T], error] {
		return func(yield func(rest.Item[T], error) bool) {
			if k.within == nil {
				return
			}
			if err := k.within(ctx, c); err != nil {
				yield(rest.Item[T]{}, err)
			}
		}
	}
	return append([]rest.Route{
		rest.List("GET "+path, view, list).Reads("all-projects"),
		keyed(k, rest.Create("POST "+path, auth.Can("project", k.create), func(ctx context.Context, c *rest.Call, _ Post) (string, error) {
			if k.within != nil {
				if err := k.within(ctx, c); err != nil {
					return "", err
				}
			}
			return "", errs.Newf(errs.Unsupported, "%ss are not supported yet by this server", k.what)
		})),
		rest.Get("GET "+one, view, func(ctx context.Context, c *rest.Call) (t T, etag any, err error) { return t, nil, k.missing(ctx, c) }),
		rest.Sync("DELETE "+one, auth.Can(k.entity, "can_delete"), missing[rest.None, rest.None](k)),
	}, rest.Edit(one, edit, rest.Editor[Put]{
		Load: func(ctx context.Context, c *rest.Call) (p Put, etag any, err error) { return p, nil, k.missing(ctx, c) },
		Save: func(ctx context.Context, c *rest.Call, _ Put) error { return k.missing(ctx, c) },
	})...)
}

// keyed declares that who makes a bucket, or a key of one, is shown the key.
func keyed(k kind, r rest.Route) rest.Route {
	if k.entity != "storage_bucket" {
		return r
	}
	return r.Answers(rest.Body{Status: http.StatusCreated, Go: reflect.TypeFor[api.StorageBucketKey]()})
}

// parts is the routes of what such an object would hold.
func parts[T, Post, Put any](k kind, path string) []rest.Route {
	part := "name"
	if k.name == "bucketName" {
		part = "keyName"
	}
	one := path + "/{" + part + "}"
	view, edit := auth.Can(k.entity, "can_view"), auth.Can(k.entity, "can_edit")
	all := []rest.Route{
		rest.Listing[T](rest.Get("GET "+path, view, func(ctx context.Context, c *rest.Call) (t []T, etag any, err error) { return t, nil, k.missing(ctx, c) })),
		keyed(k, rest.Create("POST "+path, edit, missing[Post, string](k))),
		rest.Get("GET "+one, view, func(ctx context.Context, c *rest.Call) (t T, etag any, err error) { return t, nil, k.missing(ctx, c) }),
		rest.Sync("PUT "+one, edit, missing[Put, rest.None](k)),
		rest.Sync("DELETE "+one, edit, missing[rest.None, rest.None](k)),
	}
	if k.entity == "network_zone" {
		all = append(all, rest.Sync("PATCH "+one, edit, missing[Put, rest.None](k)))
	}
	return all
}
