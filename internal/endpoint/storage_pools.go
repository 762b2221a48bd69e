package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/storage"
)

// StoragePools is the routes of /1.0/storage-pools.
func StoragePools(svc *storage.Service) []rest.Route {
	h := storagePools{svc}
	const one = "/1.0/storage-pools/{poolName}"
	edit := rest.Editor[api.StoragePoolPut]{Load: h.load, Save: h.save}
	return append([]rest.Route{
		rest.List("GET /1.0/storage-pools", auth.Authenticated, h.list),
		rest.Create("POST /1.0/storage-pools", auth.Can("server", "can_create_storage_pools"), h.create),
		rest.Get("GET "+one, auth.Authenticated, h.get),
		rest.Sync("DELETE "+one, auth.Can("storage_pool", "can_delete"), h.remove),
		rest.Get("GET "+one+"/resources", auth.Can("server", "can_view_resources"), h.resources).Global(),
	}, rest.Edit(one, auth.Can("storage_pool", "can_edit"), edit)...)
}

type storagePools struct{ svc *storage.Service }

func (h storagePools) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.StoragePool], error] {
	all, err := h.svc.ListPools(ctx)
	for i := range all {
		all[i] = h.shown(c, all[i])
	}
	return items(all, err, func(p api.StoragePool) string { return project.URL("", "storage-pools", p.Name) })
}

func (h storagePools) create(ctx context.Context, _ *rest.Call, in api.StoragePoolsPost) (string, error) {
	return project.URL("", "storage-pools", in.Name), h.svc.CreatePool(ctx, in)
}

func (h storagePools) get(ctx context.Context, c *rest.Call) (api.StoragePool, any, error) {
	p, etag, err := h.svc.GetPool(ctx, c.PathValue("poolName"))
	return h.shown(c, p), etag, err
}

// shown is a pool as the caller may see it: how it is made is for those who may change it.
func (storagePools) shown(c *rest.Call, p api.StoragePool) api.StoragePool {
	if !c.May(auth.Object{Entity: "storage_pool", URL: project.URL("", "storage-pools", p.Name)}, "can_edit") {
		p.Config = nil
	}
	p.UsedBy = c.Visible(p.UsedBy)
	return p
}

func (h storagePools) load(ctx context.Context, c *rest.Call) (api.StoragePoolPut, any, error) {
	p, etag, err := h.svc.GetPool(ctx, c.PathValue("poolName"))
	return p.Writable(), etag, err
}

func (h storagePools) save(ctx context.Context, c *rest.Call, next api.StoragePoolPut) error {
	return h.svc.UpdatePool(ctx, c.PathValue("poolName"), next)
}

func (h storagePools) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.DeletePool(ctx, c.PathValue("poolName"))
}

func (h storagePools) resources(ctx context.Context, c *rest.Call) (api.ResourcesStoragePool, any, error) {
	r, err := h.svc.Resources(ctx, c.PathValue("poolName"))
	return r, nil, err
}
