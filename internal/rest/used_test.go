package rest_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

func TestVisible(t *testing.T) {
	all := []string{
		"/1.0/instances/c1", "/1.0/instances/c1?project=p", "/1.0/instances/a%20b/snapshots/s?project=p", "/1.0/profiles/x?project=p",
		"/1.0/storage-pools/tank/volumes/custom/v/snapshots/s", "/1.0/storage-pools/tank", "/1.0/", "%zz",
	}
	mine := auth.Identity{Kind: auth.TLS, Rights: granted{
		"instance p /1.0/instances/c1 can_view": true, "instance p /1.0/instances/a%20b can_view": true,
		"storage_volume default /1.0/storage-pools/tank/volumes/custom/v can_view": true,
	}}
	for name, c := range map[string]struct {
		who  auth.Identity
		want []string
	}{
		"administrator": {auth.Identity{Kind: auth.Unix, Admin: true}, all},
		"restricted":    {mine, []string{all[1], all[2], all[4]}},
		"stranger":      {auth.Identity{}, []string{}},
	} {
		s := newServer(t)
		s.Auth = func(*http.Request) (auth.Identity, error) { return c.who, nil }
		var got []string
		h := s.Handler([]rest.Route{rest.Get("GET /1.0/x", auth.Public, func(_ context.Context, c *rest.Call) (string, any, error) {
			got = c.Visible(all)
			return strings.Join(got, " "), nil, nil
		})})
		do(h, "GET", "/1.0/x", "")
		if got == nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
