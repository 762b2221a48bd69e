package endpoint

import (
	"context"
	"iter"
	"reflect"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// InstanceSnapshots is the routes of /1.0/instances/NAME/snapshots, and that of rebuilding an instance.
func InstanceSnapshots(svc *instance.Service, at rest.Placement) []rest.Route {
	h := snapshots{svc}
	const all = "/1.0/instances/{name}/snapshots"
	const one = all + "/{snapshot}"
	edit := rest.Editor[api.InstanceSnapshotPut]{Load: h.load, SaveAsync: h.save}
	routes := append([]rest.Route{
		rest.List("GET "+all, auth.Can("instance", "can_view"), h.list).
			Depths(reflect.TypeFor[[]string](), reflect.TypeFor[[]api.InstanceSnapshot]()),
		rest.Async("POST "+all, auth.Can("instance", "can_manage_snapshots"), h.create),
		rest.Get("GET "+one, auth.Can("instance_snapshot", "can_view"), h.get),
		rest.Async("POST "+one, auth.Can("instance_snapshot", "can_edit"), h.rename),
		rest.Async("DELETE "+one, auth.Can("instance_snapshot", "can_delete"), h.remove).Reads("disk-volumes"),
		rest.Async("POST /1.0/instances/{name}/rebuild", auth.Can("instance", "can_edit"), h.rebuild),
	}, rest.Edit(one, auth.Can("instance_snapshot", "can_edit"), edit)...)
	return placed(routes, at)
}

type snapshots struct{ svc *instance.Service }

func (h snapshots) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[any], error] {
	return func(yield func(rest.Item[any], error) bool) {
		name, err := named(c)
		if err != nil {
			yield(rest.Item[any]{}, err)
			return
		}
		all, urls, err := h.svc.ListSnapshots(ctx, c.Project, name)
		if err != nil {
			yield(rest.Item[any]{}, err)
			return
		}
		for i, s := range all {
			if !yield(rest.Item[any]{URL: urls[i], Value: func(int) any { return s }}, nil) {
				return
			}
		}
	}
}

func (h snapshots) create(ctx context.Context, c *rest.Call, in api.InstanceSnapshotsPost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Snapshot(ctx, c.Project, name, in)
}

func (h snapshots) get(ctx context.Context, c *rest.Call) (api.InstanceSnapshot, any, error) {
	name, err := named(c)
	if err != nil {
		return api.InstanceSnapshot{}, nil, err
	}
	return h.svc.GetSnapshot(ctx, c.Project, name, c.PathValue("snapshot"))
}

func (h snapshots) load(ctx context.Context, c *rest.Call) (api.InstanceSnapshotPut, any, error) {
	s, etag, err := h.get(ctx, c)
	return api.InstanceSnapshotPut{ExpiresAt: s.ExpiresAt}, etag, err
}

func (h snapshots) save(ctx context.Context, c *rest.Call, next api.InstanceSnapshotPut) (op.Spec, error) {
	return h.svc.UpdateSnapshot(ctx, c.Project, c.PathValue("name"), c.PathValue("snapshot"), next)
}

func (h snapshots) rename(ctx context.Context, c *rest.Call, in api.InstanceSnapshotPost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.RenameSnapshot(ctx, c.Project, name, c.PathValue("snapshot"), in)
}

func (h snapshots) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	if mode := c.Param("disk-volumes"); mode != "" && mode != "root" {
		return op.Spec{}, errs.Newf(errs.Unsupported, "disk-volumes %q is not supported yet by this server: leave it out", mode)
	}
	return h.svc.DeleteSnapshot(ctx, c.Project, name, c.PathValue("snapshot"))
}

func (h snapshots) rebuild(ctx context.Context, c *rest.Call, in api.InstanceRebuildPost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	if err := instances(h).uses().Image(c, in.Source); err != nil {
		return op.Spec{}, err
	}
	return h.svc.Rebuild(ctx, c.Project, name, in)
}
