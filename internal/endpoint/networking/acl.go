package networking

import (
	"bytes"
	"context"
	"iter"
	"net/http"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/network/acl"
	"lxd/internal/rest"
)

// ACLs is the routes of /1.0/network-acls.
func ACLs(svc *acl.Service) []rest.Route {
	h := acls{svc}
	const one = "/1.0/network-acls/{name}"
	view, edit := auth.Can("network_acl", "can_view"), auth.Can("network_acl", "can_edit")
	return append([]rest.Route{
		rest.List("GET /1.0/network-acls", view, h.list).Reads("all-projects"),
		rest.Create("POST /1.0/network-acls", auth.Can("project", "can_create_network_acls"), h.create),
		rest.Get("GET "+one, view, h.get),
		rest.Raw("GET "+one+"/log", view, h.log).Answers(rest.Bytes()),
		rest.Create("POST "+one, edit, h.rename),
		rest.Sync("DELETE "+one, auth.Can("network_acl", "can_delete"), h.remove),
	}, rest.Edit(one, edit, rest.Editor[api.NetworkACLPut]{Load: h.load, Save: h.save})...)
}

type acls struct{ svc *acl.Service }

func (h acls) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.NetworkACL], error] {
	all, err := h.svc.List(ctx, c.Project, c.AllProjects)
	for i := range all {
		all[i].UsedBy = c.Visible(all[i].UsedBy)
	}
	return rest.Within(rest.Items(all, err, func(a api.NetworkACL) string { return acl.URL(a.Name) }), func(a api.NetworkACL) string { return a.Project })
}

func (h acls) create(ctx context.Context, c *rest.Call, in api.NetworkACLsPost) (string, error) {
	return acl.URL(in.Name), h.svc.Create(ctx, c.Project, in)
}

func (h acls) get(ctx context.Context, c *rest.Call) (api.NetworkACL, any, error) {
	a, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("name"))
	a.UsedBy = c.Visible(a.UsedBy)
	return a, etag, err
}

func (h acls) rename(ctx context.Context, c *rest.Call, in api.NetworkACLPost) (string, error) {
	return acl.URL(in.Name), h.svc.Rename(ctx, c.Project, c.PathValue("name"), in.Name)
}

func (h acls) log(w http.ResponseWriter, c *rest.Call) error {
	var log bytes.Buffer // bounded by what the log keeps
	if err := h.svc.Log(c.Context(), c.Project, c.PathValue("name"), &log); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err := w.Write(log.Bytes())
	return err
}

func (h acls) load(ctx context.Context, c *rest.Call) (api.NetworkACLPut, any, error) {
	a, etag, err := h.get(ctx, c)
	return a.Writable(), etag, err
}

func (h acls) save(ctx context.Context, c *rest.Call, next api.NetworkACLPut) error {
	return h.svc.Update(ctx, c.Project, c.PathValue("name"), next)
}

func (h acls) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.Delete(ctx, c.Project, c.PathValue("name"))
}
