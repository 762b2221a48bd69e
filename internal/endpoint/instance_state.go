package endpoint

import (
	"context"
	"encoding/json"
	"reflect"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// InstanceState is the routes of /1.0/instances/NAME/state.
func InstanceState(svc *instance.Service, at rest.Placement) []rest.Route {
	h := instances{svc}
	const path = "/1.0/instances/{name}/state"
	return placed([]rest.Route{
		rest.Get("GET "+path, auth.Can("instance", "can_view"), h.state),
		rest.Async("PUT "+path, auth.Can("instance", "can_update_state"), h.setState).Takes(reflect.TypeFor[api.InstanceStatePut]()),
	}, at)
}

func (h instances) state(ctx context.Context, c *rest.Call) (api.InstanceState, any, error) {
	name, err := named(c)
	if err != nil {
		return api.InstanceState{}, nil, err
	}
	state, err := h.svc.State(ctx, c.Project, name)
	return state, nil, err
}

func (h instances) setState(ctx context.Context, c *rest.Call, in statePut) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.SetState(ctx, c.Project, name, api.InstanceStatePut(in))
}

// statePut is the body of a state change. A timeout that is absent means no limit of the client's.
type statePut api.InstanceStatePut

// statesPut is the body of a state change of all instances.
type statesPut struct {
	State *statePut `json:"state"`
}

func (p *statePut) UnmarshalJSON(b []byte) error {
	put := api.InstanceStatePut{Timeout: -1}
	if err := json.Unmarshal(b, &put); err != nil {
		return err
	}
	*p = statePut(put)
	return nil
}
