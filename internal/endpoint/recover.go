package endpoint

import (
	"context"
	"fmt"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/rest"
	"lxd/internal/storage"
)

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
