package endpoint

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"reflect"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/migrate"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// Importer makes instances of backups that are sent.
type Importer func(w http.ResponseWriter, c *rest.Call) error

// Instances is the routes of /1.0/instances, but for those of parts of an instance. at places calls about one instance.
func Instances(svc *instance.Service, upload Importer, moves *migrate.Service, at rest.Placement) []rest.Route {
	h := travellers{instances{svc}, moves}
	const one = "/1.0/instances/{name}"
	edit := rest.Editor[api.InstancePut]{Load: h.load, Save: h.saveNow, SaveAsync: h.save, PatchSync: true}
	routes := append([]rest.Route{
		rest.Get("GET "+one, auth.Can("instance", "can_view"), h.get).Strict().Reads("fields").
			Depths(reflect.TypeFor[api.Instance](), reflect.TypeFor[api.InstanceFull]()),
		rest.Async("POST "+one, auth.Can("instance", "can_edit"), h.rename),
		rest.Async("DELETE "+one, auth.Can("instance", "can_delete"), h.remove).Reads("force"),
	}, rest.Edit(one, auth.Can("instance", "can_edit"), edit)...)
	return append(placed(routes, at),
		rest.List("GET /1.0/instances", auth.Can("instance", "can_view"), h.list).Strict().Reads("all-projects", "fields", "instance-type").
			Depths(reflect.TypeFor[[]string](), reflect.TypeFor[[]api.Instance](), reflect.TypeFor[[]api.InstanceFull]()),
		rest.AsyncOr("POST /1.0/instances", auth.Can("project", "can_create_instances"), h.create, upload).Reads("target"),
		rest.Async("PUT /1.0/instances", auth.Authenticated, h.setStates).Takes(reflect.TypeFor[api.InstancesPut]()))
}

// placed places all routes of a table.
func placed(routes []rest.Route, at rest.Placement) []rest.Route {
	for i := range routes {
		routes[i] = routes[i].On(at)
	}
	return routes
}

type instances struct{ svc *instance.Service }

// travellers are instances that come from other servers and go there.
type travellers struct {
	instances
	moves *migrate.Service
}

// named is the instance that the path names.
func named(c *rest.Call) (string, error) {
	name := c.PathValue("name")
	return name, instance.CheckPath(name)
}

func (h instances) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[any], error] {
	fields, err := instance.ParseFields(c.Fields)
	q := instance.Query{Project: c.Project, All: c.AllProjects, Type: c.Param("instance-type"), Depth: c.Recursion, Fields: fields}
	return func(yield func(rest.Item[any], error) bool) {
		if err != nil {
			yield(rest.Item[any]{}, err)
			return
		}
		for sh, err := range h.svc.List(ctx, q) {
			if err != nil {
				yield(rest.Item[any]{}, err)
				return
			}
			if !yield(rest.Item[any]{URL: sh.URL, Value: sh.Value, JSON: sh.JSON}, nil) {
				return
			}
		}
	}
}

func (h travellers) create(ctx context.Context, c *rest.Call, in api.InstancesPost) (op.Spec, error) {
	if c.Target() != "" {
		return op.Spec{}, errs.Newf(errs.Invalid, "target %q: this server is not clustered, leave the target out", c.Target())
	}
	if err := h.uses().Create(ctx, c, in); err != nil {
		return op.Spec{}, err
	}
	if in.Source.Type == api.SourceTypeMigration {
		return h.moves.Sink(ctx, c.Project, in)
	}
	return h.svc.Create(ctx, c.Project, in)
}

// uses checks what instances refer to.
func (h instances) uses() use.Instances { return use.Instances{Source: h.svc} }

func (h instances) get(ctx context.Context, c *rest.Call) (any, any, error) {
	name, err := named(c)
	if err != nil {
		return nil, nil, err
	}
	if c.Recursion == 0 {
		return h.svc.Get(ctx, c.Project, name)
	}
	fields, err := instance.ParseFields(c.Fields)
	if err != nil {
		return nil, nil, err
	}
	return h.svc.Full(ctx, c.Project, name, fields)
}

func (h instances) load(ctx context.Context, c *rest.Call) (api.InstancePut, any, error) {
	name, err := named(c)
	if err != nil {
		return api.InstancePut{}, nil, err
	}
	return h.svc.Writable(ctx, c.Project, name)
}

func (h instances) save(ctx context.Context, c *rest.Call, next api.InstancePut) (op.Spec, error) {
	if err := h.uses().Change(ctx, c, next); err != nil {
		return op.Spec{}, err
	}
	return h.svc.Update(ctx, c.Project, c.PathValue("name"), next)
}

func (h instances) saveNow(ctx context.Context, c *rest.Call, next api.InstancePut) error {
	if err := h.uses().Change(ctx, c, next); err != nil {
		return err
	}
	return h.svc.UpdateNow(ctx, c.Project, c.PathValue("name"), next)
}

func (h travellers) rename(ctx context.Context, c *rest.Call, in api.InstancePost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	if in.Migration && (in.Target != nil || in.Pool == "" && in.Project == "") {
		return h.moves.Source(ctx, c.Project, name, in)
	}
	if err := h.uses().Move(ctx, c, name, in); err != nil {
		return op.Spec{}, err
	}
	return h.svc.Rename(ctx, c.Project, name, in)
}

func (h instances) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Delete(ctx, c.Project, name, c.Flag("force"))
}

func (h instances) setStates(ctx context.Context, c *rest.Call, in statesPut) (op.Spec, error) {
	if in.State == nil {
		return op.Spec{}, errs.Newf(errs.Invalid, "the state is missing: send {\"state\": {\"action\": ...}}")
	}
	may := func(name string) bool {
		return c.May(auth.Object{Entity: "instance", Project: c.Project, URL: "/1.0/instances/" + url.PathEscape(name)}, "can_update_state")
	}
	return h.svc.SetStates(ctx, c.Project, may, api.InstanceStatePut(*in.State))
}
