package endpoint

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/rest"
	"lxd/internal/storage"
)

// Daemon is what the routes of /internal ask of the process.
type Daemon interface {
	// Await returns when the daemon is ready, or fails with Unavailable when ctx ends first or the daemon is shutting down. A
	// daemon that is ready already succeeds even if ctx has ended.
	Await(ctx context.Context) error
	// Shutdown stops everything but the answer to the caller; exit, called once that is sent, ends the process, also when not all could
	// be stopped. With force it does not wait for operations. While another shutdown is under way it fails with Conflict, without exit.
	Shutdown(ctx context.Context, force bool) (exit func(), err error)
}

// Internal is the routes of /internal, which this server's own commands use.
func Internal(d Daemon) []rest.Route {
	h := internal{d}
	admin := auth.Can("server", "admin")
	return []rest.Route{
		rest.Sync("GET /internal/ready", admin, h.ready).Global(),
		rest.Raw("PUT /internal/shutdown", admin, h.shutdown).Global(),
	}
}

type internal struct{ d Daemon }

// ready waits as long as the caller says: not at all without a timeout, without limit when it is 0.
func (h internal) ready(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	if err := local(c); err != nil {
		return none, err
	}
	limit := time.Duration(0)
	if t := c.Param("timeout"); t != "" {
		n, err := strconv.ParseUint(t, 10, 31)
		if err != nil {
			return none, errs.Newf(errs.Invalid, "timeout %q: must be a number of seconds", t)
		}
		if n == 0 {
			return none, h.d.Await(ctx)
		}
		limit = time.Duration(n) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return none, h.d.Await(ctx)
}

// shutdown answers when everything has stopped, and only then lets the process end.
func (h internal) shutdown(w http.ResponseWriter, c *rest.Call) error {
	if err := local(c); err != nil {
		return err
	}
	exit, err := h.d.Shutdown(context.WithoutCancel(c.Context()), c.Flag("force"))
	if errs.Is(err, errs.Conflict) {
		return rest.WithStatus(http.StatusTooManyRequests, err)
	}
	if exit != nil {
		defer exit()
	}
	if err != nil {
		return err // answers under way are still sent when the process ends
	}
	b, err := rest.Result(rest.None{}, nil)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if _, err := w.Write(b); err != nil {
		return err
	}
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	return nil
}

// Finder finds volumes that the database does not know.
type Finder interface {
	// Strays looks through open pools and changes nothing. A pool that does not exist is NotFound.
	Strays(ctx context.Context, pools []string) ([]storage.Stray, error)
}

// Recover is the routes that "lxd recover" uses.
func Recover(f Finder) []rest.Route {
	h := recovery{f}
	admin := auth.Can("server", "admin")
	return []rest.Route{
		rest.Sync("POST /internal/recover/validate", admin, h.validate).Global(),
		rest.Sync("POST /internal/recover/import", admin, h.take).Global(),
	}
}

type recovery struct{ f Finder }

// lostPools says where to look.
type lostPools struct {
	Pools []api.StoragePoolsPost `json:"pools"`
}

// lostVolume is a volume that the database does not know.
type lostVolume struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	SnapshotCount int    `json:"snapshotCount"`
	Project       string `json:"project"`
	Pool          string `json:"pool"`
}

// lost is what was found, and what has to be there before it can be taken in.
type lost struct {
	UnknownVolumes   []lostVolume
	DependencyErrors []string
}

func (h recovery) validate(ctx context.Context, c *rest.Call, in lostPools) (out lost, err error) {
	if err := local(c); err != nil {
		return out, err
	}
	var names []string
	for _, p := range in.Pools {
		names = append(names, p.Name)
	}
	found, err := h.f.Strays(ctx, names)
	out = lost{UnknownVolumes: []lostVolume{}, DependencyErrors: []string{}}
	missing := map[string]bool{}
	for _, s := range found {
		out.UnknownVolumes = append(out.UnknownVolumes, lostVolume{Name: s.Volume.Name, Type: string(s.Volume.Type), SnapshotCount: s.Snapshots, Project: s.Volume.Project, Pool: s.Pool})
		if s.Homeless && !missing[s.Volume.Project] {
			missing[s.Volume.Project] = true
			out.DependencyErrors = append(out.DependencyErrors, fmt.Sprintf("Project %q is missing: create it with \"lxc project create %s\"", s.Volume.Project, s.Volume.Project))
		}
	}
	return out, err
}

func (h recovery) take(_ context.Context, c *rest.Call, _ lostPools) (none rest.None, err error) {
	if err := local(c); err != nil {
		return none, err
	}
	return none, errs.Newf(errs.Unsupported, "taking volumes into the database is not supported yet: nothing was changed")
}

// local keeps clients of the network out, even those that may do everything else.
func local(c *rest.Call) error {
	if c.Caller.Kind != auth.Unix {
		return errs.Newf(errs.Forbidden, "not authorized: this is for commands on the server itself")
	}
	return nil
}
