package endpoint

import (
	"context"
	"crypto/subtle"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// Operations is the routes of /1.0/operations. An operation is found by its id alone, whatever the project of the call.
func Operations(ops *op.Manager) []rest.Route {
	h := operations{ops}
	wait := rest.Raw("GET /1.0/operations/{id}/wait", auth.Public, h.wait).Global().Reads("timeout", "secret").
		Answers(rest.JSON[api.Operation](), rest.JSON[rest.Failure]())
	return []rest.Route{
		rest.Get("GET /1.0/operations", auth.Authenticated, h.list).Reads("all-projects").
			Depths(reflect.TypeFor[map[string][]string](), reflect.TypeFor[map[string][]api.Operation]()),
		rest.Get("GET /1.0/operations/{id}", auth.Authenticated, h.get).Global(),
		rest.Sync("DELETE /1.0/operations/{id}", auth.Authenticated, h.cancel).Global(),
		wait,
		rest.Raw("GET /1.0/operations/{id}/websocket", auth.Public, h.websocket).Global().Reads("secret").Answers(rest.Upgrade()),
	}
}

type operations struct{ ops *op.Manager }

// list groups the operations by status: URLs, or with recursion the operations themselves.
func (h operations) list(_ context.Context, c *rest.Call) (map[string][]any, any, error) {
	project := c.Project
	if c.AllProjects {
		project = ""
	}
	groups := map[string][]any{}
	for _, o := range h.ops.List(project) {
		if !h.sees(c, o) {
			continue
		}
		a := h.shown(c, o)
		status := strings.ToLower(a.Status)
		if c.Recursion > 0 {
			groups[status] = append(groups[status], a)
			continue
		}
		groups[status] = append(groups[status], o.URL())
	}
	return groups, nil, nil
}

// own tells whether the caller started the operation.
func (h operations) own(c *rest.Call, o *op.Operation) bool {
	return o.Caller().Username == c.Caller.Name && o.Caller().Protocol == string(c.Caller.Kind)
}

// sees tells whether the caller may know of the operation: its own, or one of a project whose operations it may view.
func (h operations) sees(c *rest.Call, o *op.Operation) bool {
	if c.Caller.Admin || h.own(c, o) {
		return true
	}
	if o.Project() == "" {
		return c.May(auth.ServerObject, "can_view_operations")
	}
	return c.May(auth.ProjectObject(o.Project()), "can_view_operations")
}

// find finds an operation that the caller may know of. Those with fine-grained rights do not learn that there are others.
func (h operations) find(c *rest.Call) (*op.Operation, error) {
	o, err := h.ops.Get(c.PathValue("id"))
	if err == nil && !h.sees(c, o) {
		if !c.Caller.FineGrained {
			return nil, errs.Newf(errs.Forbidden, "not authorized: the operation is not one of this client, or of its projects")
		}
		return nil, errs.Newf(errs.NotFound, "operation %q not found", c.PathValue("id"))
	}
	return o, err
}

func (h operations) get(_ context.Context, c *rest.Call) (api.Operation, any, error) {
	o, err := h.find(c)
	if err != nil {
		return api.Operation{}, nil, err
	}
	return h.shown(c, o), nil, nil
}

// shown is the operation as the caller may see it.
func (h operations) shown(c *rest.Call, o *op.Operation) api.Operation {
	if h.own(c, o) || confided(c) {
		return o.API()
	}
	return outline(o.API())
}

// confided tells whether the caller may know the secrets of operations that others have started: who may not do everything anyway could
// use them to become an administrator, or to take part in what others do.
func confided(c *rest.Call) bool { return identity.Manages(c.Caller) }

// outline is an operation without the metadata that lets clients take part in it.
func outline(a api.Operation) api.Operation {
	if a.Class != string(op.TokenClass) && a.Class != string(op.WebsocketClass) {
		return a
	}
	url, ok := a.Metadata["entity_url"]
	a.Metadata = nil
	if ok {
		a.Metadata = map[string]any{"entity_url": url}
	}
	return a
}

// cancel is for who started the operation, and for who may edit the server.
func (h operations) cancel(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	o, err := h.find(c)
	if err != nil {
		return none, err
	}
	if !h.own(c, o) {
		if err := c.Check(auth.Can("server", "can_edit"), auth.ServerObject); err != nil {
			return none, err
		}
	}
	return none, o.Cancel(ctx)
}

// wait sends its header at once, so that the result travels in the body alone: a failed operation is an error under HTTP 200.
func (h operations) wait(w http.ResponseWriter, c *rest.Call) error {
	timeout := -1
	if t := c.Param("timeout"); t != "" {
		var err error
		if timeout, err = strconv.Atoi(t); err != nil {
			return errs.Newf(errs.Internal, "timeout %q: must be a number of seconds", t)
		}
	}
	o, err := h.waitable(c)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	b, err := rest.Result(h.await(c, o, timeout))
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// waitable finds the operation; callers that are not trusted must know a secret of it.
func (h operations) waitable(c *rest.Call) (o *op.Operation, err error) {
	if c.Caller.Trusted() {
		return h.find(c)
	}
	err = c.Prove(c.Param("secret"), func() error {
		if o, err = h.ops.Get(c.PathValue("id")); err != nil || !knows(o, c.Param("secret")) {
			return errs.Newf(errs.Forbidden, "not authorized: the server does not trust this client and the secret does not match")
		}
		return nil
	})
	return o, err
}

// knows tells whether secret is one of the operation's. Secrets are the long texts of its metadata, but for what is no secret.
func knows(o *op.Operation, secret string) bool {
	found := 0
	for k, v := range o.API().Metadata {
		if s, ok := v.(string); ok && len(s) >= 32 && k != "fingerprint" && k != "entity_url" {
			found |= subtle.ConstantTimeCompare([]byte(s), []byte(secret))
		}
	}
	return found == 1
}

// await returns the ended operation, or why there is none: its own error, or that time is up.
func (h operations) await(c *rest.Call, o *op.Operation, timeout int) (any, error) {
	ctx := c.Context()
	if timeout >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
		defer cancel()
	}
	select {
	case <-o.Done():
	case <-ctx.Done():
		return nil, errs.Newf(errs.Internal, "operation %s has not ended within %d seconds: it goes on", o.ID(), timeout)
	}
	if err := o.Wait(ctx); err != nil {
		return nil, err
	}
	if !c.Caller.Trusted() { // it knows a secret of it
		return o.API(), nil
	}
	return h.shown(c, o), nil
}

func (h operations) websocket(w http.ResponseWriter, c *rest.Call) error {
	o, err := h.ops.Get(c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.Prove(c.Param("secret"), func() error { return o.Connect(w, c.Request) })
}
