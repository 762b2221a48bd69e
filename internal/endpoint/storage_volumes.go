package endpoint

import (
	"cmp"
	"context"
	"iter"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
)

// StorageVolumes is the routes of /1.0/storage-pools/POOL/volumes and /1.0/storage-volumes. at places calls about one volume.
func StorageVolumes(pools *storage.Service, svc *custom.Service, upload Importer, at rest.Placement) []rest.Route {
	h := volumes{pools, svc}
	const all = "/1.0/storage-pools/{poolName}/volumes"
	const one = all + "/{type}/{volumeName}"
	const snapshots = one + "/snapshots"
	const snapshot = snapshots + "/{snapshotName}"
	view, change := auth.Can("storage_volume", "can_view"), auth.Can("storage_volume", "can_edit")
	edit := rest.Editor[api.StorageVolumePut]{Load: h.load, SaveAsync: h.save}
	editSnapshot := rest.Editor[api.StorageVolumeSnapshotPut]{Load: h.loadSnapshot, SaveAsync: h.saveSnapshot}
	routes := append([]rest.Route{
		rest.Get("GET "+one, view, h.get),
		rest.Async("POST "+one, change, h.move),
		rest.Async("DELETE "+one, auth.Can("storage_volume", "can_delete"), h.remove),
		rest.Get("GET "+one+"/state", view, h.state),
		rest.List("GET "+snapshots, view, h.snapshots),
		rest.Async("POST "+snapshots, auth.Can("storage_volume", "can_manage_snapshots"), h.createSnapshot),
		rest.Get("GET "+snapshot, auth.Can("storage_volume_snapshot", "can_view"), h.snapshot),
		rest.Async("POST "+snapshot, auth.Can("storage_volume_snapshot", "can_edit"), h.renameSnapshot),
		rest.Async("DELETE "+snapshot, auth.Can("storage_volume_snapshot", "can_delete"), h.removeSnapshot),
	}, rest.Edit(one, change, edit)...)
	routes = append(routes, rest.Edit(snapshot, auth.Can("storage_volume_snapshot", "can_edit"), editSnapshot)...)
	create := auth.Can("project", "can_create_storage_volumes")
	return append(placed(routes, at),
		rest.List("GET "+all, view, h.list).Reads("all-projects"), rest.List("GET "+all+"/{type}", view, h.list).Reads("all-projects"),
		rest.List("GET /1.0/storage-volumes", view, h.list).Reads("all-projects"),
		rest.List("GET /1.0/storage-volumes/{type}", view, h.list).Reads("all-projects"),
		rest.AsyncOr("POST "+all, create, h.create, upload), rest.AsyncOr("POST "+all+"/{type}", create, h.create, upload),
	)
}

type volumes struct {
	pools *storage.Service
	svc   *custom.Service
}

func (h volumes) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.StorageVolume], error] {
	all, err := h.pools.ListVolumes(ctx, storage.Query{Pool: c.PathValue("poolName"), Project: c.Project,
		Type: storage.VolumeType(c.PathValue("type")), All: c.AllProjects})
	for i := range all {
		all[i].UsedBy = c.Visible(all[i].UsedBy)
	}
	return items(all, err, func(v api.StorageVolume) string {
		name, snapshot, ok := strings.Cut(v.Name, "/")
		if ok {
			return project.URL(v.Project, "storage-pools", v.Pool, "volumes", v.Type, name, "snapshots", snapshot)
		}
		return project.URL(v.Project, "storage-pools", v.Pool, "volumes", v.Type, name)
	})
}

func (h volumes) get(ctx context.Context, c *rest.Call) (api.StorageVolume, any, error) {
	v, etag, err := h.pools.GetVolume(ctx, c.PathValue("poolName"), c.Project, storage.VolumeType(c.PathValue("type")), c.PathValue("volumeName"))
	v.UsedBy = c.Visible(v.UsedBy)
	return v, etag, err
}

// customVolume is the custom volume that the path names; other volumes are changed through what they belong to.
func customVolume(c *rest.Call) (storage.Name, error) {
	n := storage.Name{Pool: c.PathValue("poolName"), Project: c.Project, Type: storage.VolumeType(c.PathValue("type")), Name: c.PathValue("volumeName")}
	if n.Type != storage.CustomVolume {
		return n, errs.Newf(errs.Invalid, "volumes of type %q are changed through what they belong to: only custom volumes can be changed here", n.Type)
	}
	return n, nil
}

func (h volumes) create(ctx context.Context, c *rest.Call, in api.StorageVolumesPost) (op.Spec, error) {
	if typ := c.PathValue("type"); typ != "" {
		in.Type = typ
	}
	if in.Source.Name != "" {
		name, _, _ := strings.Cut(in.Source.Name, "/")
		o := auth.Object{Project: cmp.Or(in.Source.Project, c.Project),
			URL: project.URL("", "storage-pools", cmp.Or(in.Source.Pool, c.PathValue("poolName")), "volumes", string(storage.CustomVolume), name)}
		if err := c.Check(auth.Can("storage_volume", "can_view"), o); err != nil {
			return op.Spec{}, err
		}
	}
	if in.Source.Refresh {
		if err := h.mayReplace(ctx, c, in.Name); err != nil {
			return op.Spec{}, err
		}
	}
	return h.svc.Create(ctx, c.PathValue("poolName"), c.Project, in)
}

// mayReplace checks that the caller may edit a volume that is to become what another one is, if it is there.
func (h volumes) mayReplace(ctx context.Context, c *rest.Call, name string) error {
	if !use.Judged(c) {
		return nil
	}
	pool := c.PathValue("poolName")
	_, _, err := h.pools.GetVolume(ctx, pool, c.Project, storage.CustomVolume, name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	o := auth.Object{Project: c.Project, URL: project.URL("", "storage-pools", pool, "volumes", string(storage.CustomVolume), name)}
	return c.Check(auth.Can("storage_volume", "can_edit"), o)
}

func (h volumes) load(ctx context.Context, c *rest.Call) (api.StorageVolumePut, any, error) {
	n, err := customVolume(c)
	if err != nil {
		return api.StorageVolumePut{}, nil, err
	}
	v, etag, err := h.pools.GetVolume(ctx, n.Pool, n.Project, n.Type, n.Name)
	return v.Writable(), etag, err
}

func (h volumes) save(ctx context.Context, c *rest.Call, next api.StorageVolumePut) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Update(ctx, n, next)
}

func (h volumes) move(ctx context.Context, c *rest.Call, in api.StorageVolumePost) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	if in.Project != "" && in.Project != c.Project {
		if err := c.Check(auth.Can("project", "can_create_storage_volumes"), auth.ProjectObject(in.Project)); err != nil {
			return op.Spec{}, err
		}
	}
	return h.svc.Move(ctx, n, in)
}

func (h volumes) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Delete(ctx, n.Pool, n.Project, n.Name)
}

func (h volumes) state(ctx context.Context, c *rest.Call) (api.StorageVolumeState, any, error) {
	n := storage.Name{Pool: c.PathValue("poolName"), Project: c.Project, Type: storage.VolumeType(c.PathValue("type")), Name: c.PathValue("volumeName")}
	s, err := h.svc.State(ctx, n)
	return s, nil, err
}

func (h volumes) snapshots(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.StorageVolumeSnapshot], error] {
	return func(yield func(rest.Item[api.StorageVolumeSnapshot], error) bool) {
		n, err := customVolume(c)
		if err != nil {
			yield(rest.Item[api.StorageVolumeSnapshot]{}, err)
			return
		}
		all, urls, err := h.svc.Snapshots(ctx, n)
		if err != nil {
			yield(rest.Item[api.StorageVolumeSnapshot]{}, err)
			return
		}
		for i, s := range all {
			if !yield(rest.Item[api.StorageVolumeSnapshot]{URL: urls[i], Value: func(int) api.StorageVolumeSnapshot { return s }}, nil) {
				return
			}
		}
	}
}

func (h volumes) createSnapshot(ctx context.Context, c *rest.Call, in api.StorageVolumeSnapshotsPost) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Snapshot(ctx, n, in)
}

func (h volumes) snapshot(ctx context.Context, c *rest.Call) (api.StorageVolumeSnapshot, any, error) {
	n, err := customVolume(c)
	if err != nil {
		return api.StorageVolumeSnapshot{}, nil, err
	}
	return h.svc.GetSnapshot(ctx, n, c.PathValue("snapshotName"))
}

func (h volumes) loadSnapshot(ctx context.Context, c *rest.Call) (api.StorageVolumeSnapshotPut, any, error) {
	s, etag, err := h.snapshot(ctx, c)
	return s.Writable(), etag, err
}

func (h volumes) saveSnapshot(ctx context.Context, c *rest.Call, next api.StorageVolumeSnapshotPut) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.UpdateSnapshot(ctx, n, c.PathValue("snapshotName"), next)
}

func (h volumes) renameSnapshot(ctx context.Context, c *rest.Call, in api.StorageVolumeSnapshotPost) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.RenameSnapshot(ctx, n, c.PathValue("snapshotName"), in)
}

func (h volumes) removeSnapshot(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.DeleteSnapshot(ctx, n, c.PathValue("snapshotName"))
}
