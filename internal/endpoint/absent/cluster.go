package absent

import (
	"context"
	"net/http"
	"reflect"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// Cluster is the routes of /1.0/cluster for a server that is no member of one.
func Cluster() []rest.Route {
	edit := auth.Can("server", "can_edit")
	all := append([]rest.Route{
		rest.Get("GET /1.0/cluster", auth.Authenticated, func(context.Context, *rest.Call) (api.Cluster, any, error) {
			none := api.Cluster{MemberConfig: []api.ClusterMemberConfigKey{}}
			return none, none, nil
		}),
		rest.Sync("PUT /1.0/cluster", edit, func(_ context.Context, _ *rest.Call, put api.ClusterPut) (rest.None, error) {
			if !put.Enabled {
				return rest.None{}, alone()
			}
			return rest.None{}, errs.Newf(errs.Unsupported, "clusters are not supported yet by this server: it stays by itself")
		}).Answers(rest.Body{Status: http.StatusAccepted, Go: reflect.TypeFor[api.Operation]()}),
		rest.Sync("PUT /1.0/cluster/certificate", edit, no[api.ClusterCertificatePut]),
	}, members(edit)...)
	all = append(all, groups(edit)...)
	for i := range all {
		all[i] = all[i].Global()
	}
	return all
}

func alone() error {
	return errs.Newf(errs.Invalid, "this server is not clustered")
}

func no[In any](context.Context, *rest.Call, In) (rest.None, error) { return rest.None{}, alone() }

func none[T any](context.Context, *rest.Call) (t T, etag any, err error) { return t, nil, alone() }

func unmade[In any](context.Context, *rest.Call, In) (string, error) { return "", alone() }

func idle[In any](context.Context, *rest.Call, In) (op.Spec, error) { return op.Spec{}, alone() }

func members(edit auth.Access) []rest.Route {
	const all, one = "/1.0/cluster/members", "/1.0/cluster/members/{name}"
	return []rest.Route{
		rest.Listing[api.ClusterMember](rest.Get("GET "+all, auth.Authenticated, none[[]api.ClusterMember])), rest.Async("POST "+all, edit, idle[api.ClusterMembersPost]),
		rest.Get("GET "+one, auth.Authenticated, none[api.ClusterMember]), rest.Sync("POST "+one, edit, no[api.ClusterMemberPost]),
		rest.Sync("PUT "+one, edit, no[api.ClusterMemberPut]), rest.Sync("PATCH "+one, edit, no[api.ClusterMemberPut]),
		rest.Sync("DELETE "+one, edit, no[rest.None]).Reads("force"),
		rest.Get("GET "+one+"/state", auth.Authenticated, none[api.ClusterMemberState]), rest.Async("POST "+one+"/state", edit, idle[api.ClusterMemberStatePost]),
	}
}

func groups(edit auth.Access) []rest.Route {
	const all, one = "/1.0/cluster/groups", "/1.0/cluster/groups/{name}"
	return []rest.Route{
		rest.Listing[api.ClusterGroup](rest.Get("GET "+all, auth.Authenticated, none[[]api.ClusterGroup])), rest.Create("POST "+all, edit, unmade[api.ClusterGroupsPost]),
		rest.Get("GET "+one, auth.Authenticated, none[api.ClusterGroup]), rest.Create("POST "+one, edit, unmade[api.ClusterGroupPost]),
		rest.Sync("PUT "+one, edit, no[api.ClusterGroupPut]), rest.Sync("PATCH "+one, edit, no[api.ClusterGroupPut]), rest.Sync("DELETE "+one, edit, no[rest.None]),
	}
}
