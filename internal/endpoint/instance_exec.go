package endpoint

import (
	"context"
	"net/http"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// InstanceExec is the routes of /1.0/instances/NAME/exec and console.
func InstanceExec(svc *instance.Service, at rest.Placement) []rest.Route {
	h := instances{svc}
	const console = "/1.0/instances/{name}/console"
	return placed([]rest.Route{
		rest.Async("POST /1.0/instances/{name}/exec", auth.Can("instance", "can_exec"), h.exec),
		rest.Raw("GET "+console, auth.Can("instance", "can_view"), h.consoleLog).Answers(rest.Bytes()),
		rest.Async("POST "+console, auth.Can("instance", "can_access_console"), h.console),
		rest.Sync("DELETE "+console, auth.Can("instance", "can_edit"), h.clearConsole),
	}, at)
}

func (h instances) exec(ctx context.Context, c *rest.Call, in api.InstanceExecPost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Exec(ctx, c.Project, name, in)
}

func (h instances) console(ctx context.Context, c *rest.Call, in api.InstanceConsolePost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Console(ctx, c.Project, name, in)
}

func (h instances) clearConsole(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	name, err := named(c)
	if err != nil {
		return rest.None{}, err
	}
	return rest.None{}, h.svc.ClearConsoleLog(ctx, c.Project, name)
}

func (h instances) consoleLog(w http.ResponseWriter, c *rest.Call) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	b, err := h.svc.ConsoleLog(c.Context(), c.Project, name)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(b) // a client that went away needs no log
	return nil
}
