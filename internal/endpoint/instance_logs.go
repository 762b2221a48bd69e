package endpoint

import (
	"context"
	"net/http"

	"lxd/internal/auth"
	"lxd/internal/instance"
	"lxd/internal/rest"
)

// execOutput is the folder of what recorded commands wrote.
const execOutput = "exec-output"

// InstanceLogs is the routes of /1.0/instances/NAME/logs.
func InstanceLogs(svc *instance.Service, at rest.Placement) []rest.Route {
	h := instances{svc}
	const logs = "/1.0/instances/{name}/logs"
	view, edit, exec := auth.Can("instance", "can_view"), auth.Can("instance", "can_edit"), auth.Can("instance", "can_exec")
	return placed([]rest.Route{
		rest.Get("GET "+logs, view, h.logs("")),
		rest.Get("GET "+logs+"/exec-output", exec, h.logs(execOutput)),
		rest.Raw("GET "+logs+"/exec-output/{file}", exec, h.logFile(execOutput+"/")).Answers(rest.Bytes()),
		rest.Sync("DELETE "+logs+"/exec-output/{file}", exec, h.deleteLog(execOutput+"/")),
		rest.Raw("GET "+logs+"/{file}", view, h.logFile("")).Answers(rest.Bytes()),
		rest.Sync("DELETE "+logs+"/{file}", edit, h.deleteLog("")),
	}, at)
}

func (h instances) logs(dir string) func(context.Context, *rest.Call) ([]string, any, error) {
	return func(ctx context.Context, c *rest.Call) ([]string, any, error) {
		name, err := named(c)
		if err != nil {
			return nil, nil, err
		}
		urls, err := h.svc.Logs(ctx, c.Project, name, dir)
		return urls, nil, err
	}
}

func (h instances) logFile(prefix string) func(http.ResponseWriter, *rest.Call) error {
	return func(w http.ResponseWriter, c *rest.Call) error {
		name, err := named(c)
		if err != nil {
			return err
		}
		f, err := h.svc.LogFile(c.Context(), c.Project, name, prefix+c.PathValue("file"))
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		return sendBytes(w, st.Size(), f)
	}
}

func (h instances) deleteLog(prefix string) func(context.Context, *rest.Call, rest.None) (rest.None, error) {
	return func(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
		name, err := named(c)
		if err != nil {
			return rest.None{}, err
		}
		return rest.None{}, h.svc.DeleteLog(ctx, c.Project, name, prefix+c.PathValue("file"))
	}
}
