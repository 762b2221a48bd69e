package server_test

import (
	"context"
	"encoding/csv"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/server"
	"lxd/internal/store"
)

// newService is a service on an empty store, and what it announced.
func newService(t *testing.T, location string) (*server.Service, *[]event.Change) {
	t.Helper()
	var said []event.Change
	st := store.NewMem(store.Options{OnAnnounce: func(ev any) { said = append(said, ev.(event.Change)) }})
	t.Cleanup(func() { _ = st.Close() })
	s := &server.Service{Store: st, Location: location, Project: func(_ context.Context, name string) error {
		if name == "default" {
			return nil
		}
		return errs.Newf(errs.NotFound, "no")
	}}
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, &said
}

func config(t *testing.T, s *server.Service) map[string]string {
	t.Helper()
	c, err := s.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInitMakesOneIdentity(t *testing.T) {
	s, _ := newService(t, "")
	id := config(t, s)["volatile.uuid"]
	if len(id) != 36 {
		t.Error(id)
	}
	if err := s.Init(t.Context()); err != nil || config(t, s)["volatile.uuid"] != id {
		t.Error("a second start made another identity", err)
	}
}

func TestReplace(t *testing.T) {
	for name, c := range map[string]struct {
		config map[string]any
		want   string
	}{
		"unknown key":      {map[string]any{"bogus": "1"}, `Cannot set "bogus" to "1": Unknown key`},
		"several":          {map[string]any{"z": "1", "a": "2", "m": "3"}, `Cannot set "a" to "2": Unknown key (and 2 more errors: "m", "z")`},
		"number":           {map[string]any{"core.shutdown_timeout": 5.0}, `Cannot set "core.shutdown_timeout" to "5": The value must be a string`},
		"bool":             {map[string]any{"user.a": true}, `Cannot set "user.a" to "true": The value must be a string`},
		"bad value":        {map[string]any{"core.shutdown_timeout": "soon"}, `Cannot set "core.shutdown_timeout" to "soon": must be a whole number from 0 to 2147483647`},
		"not yet":          {map[string]any{"core.bgp_address": ":179"}, `Cannot set "core.bgp_address" to ":179": not supported yet by this server: leave it unset`},
		"of a project":     {map[string]any{"storage.project.default.images_volume": "v"}, `Cannot set "storage.project.default.images_volume" to "v": must be POOL/VOLUME`},
		"not yet, secret":  {map[string]any{"maas.api.key": "hush"}, `Cannot set "maas.api.key" to "(secret)": not supported yet by this server: leave it unset`},
		"plain issuer":     {map[string]any{"oidc.issuer": "http://login.example.org"}, `Cannot set "oidc.issuer" to "http://login.example.org": must be the address`},
		"issuer and query": {map[string]any{"oidc.issuer": "https://login.example.org?a=b"}, `Cannot set "oidc.issuer"`},
		"scopes":           {map[string]any{"oidc.scopes": "openid profile"}, `Cannot set "oidc.scopes" to "openid profile": must have the scope email`},
		"odd scope":        {map[string]any{"oidc.scopes": `openid email "x"`}, `Cannot set "oidc.scopes"`},
		"no span":          {map[string]any{"oidc.session.expiry": "0d"}, `Cannot set "oidc.session.expiry" to "0d": must be longer than nothing`},
		"endless span":     {map[string]any{"core.auth_secret_expiry": "65000y"}, `Cannot set "core.auth_secret_expiry" to "65000y": must be no longer than`},
		"of no project":    {map[string]any{"storage.project.q.images_volume": "p/v"}, `Cannot set "storage.project.q.images_volume" to "p/v": Unknown key`},
		"address":          {map[string]any{"core.https_address": "1.2.3:8443"}, `Cannot set "core.https_address" to "1.2.3:8443": "1.2.3" is an incomplete`},
		"domain":           {map[string]any{"acme.domain": "*.lxd.test"}, `Cannot set "acme.domain" to "*.lxd.test": must be the full name`},
		"domain, address":  {map[string]any{"acme.domain": "10.0.0.1"}, `Cannot set "acme.domain" to "10.0.0.1": must be the full name`},
		"mail":             {map[string]any{"acme.email": "A <a@lxd.test>"}, `Cannot set "acme.email" to "A <a@lxd.test>": must be a mail address`},
		"plain directory":  {map[string]any{"acme.ca_url": "http://lxd.test/dir"}, `Cannot set "acme.ca_url" to "http://lxd.test/dir": must be an address`},
		"expiry":           {map[string]any{"core.remote_token_expiry": "soon"}, `Cannot set "core.remote_token_expiry" to "soon": must be numbers with a unit`},
		"newline":          {map[string]any{"images.default_architecture": "a\nb"}, "Cannot set \"images.default_architecture\" to \"a\\nb\": control character"},
		"another identity": {map[string]any{"volatile.uuid": "x"}, "volatile.uuid cannot be changed"},
		"without identity": {map[string]any{"volatile.uuid": nil}, "volatile.uuid cannot be changed"},
	} {
		s, said := newService(t, "")
		before := config(t, s)
		next := map[string]any{"volatile.uuid": before["volatile.uuid"]}
		maps.Copy(next, c.config)
		err := s.Replace(t.Context(), next)
		if !errs.Is(err, errs.Invalid) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.Equal(before, config(t, s)) || len(*said) != 0 {
			t.Errorf("%s: something changed", name)
		}
	}
}

func TestReplaceKeepsWhatDiffersFromTheDefault(t *testing.T) {
	for _, location := range []string{"", "m1"} {
		s, said := newService(t, location)
		id := config(t, s)["volatile.uuid"]
		ctx := op.WithCaller(t.Context(), op.Caller{Username: "root"})
		err := s.Replace(ctx, map[string]any{"volatile.uuid": id, "user.a": "line\nline", "core.shutdown_timeout": "7", "core.https_address": "",
			"images.auto_update_interval": "6", "user.gone": nil})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"volatile.uuid": id, "user.a": "line\nline", "core.shutdown_timeout": "7"}
		if got := config(t, s); !maps.Equal(got, want) {
			t.Error(got)
		}
		if len(*said) != 1 || (*said)[0].Action != "config-updated" || (*said)[0].Requestor.Username != "root" {
			t.Error(*said)
		}
		if v, err := s.Get(t.Context(), "core.shutdown_timeout"); v != "7" || err != nil {
			t.Error(v, err)
		}
		if v, err := s.Get(t.Context(), "images.auto_update_interval"); v != "6" || err != nil {
			t.Error(v, err)
		}
		if err := s.Replace(ctx, map[string]any{"volatile.uuid": id, "user.a": "line\nline", "core.shutdown_timeout": "7"}); err != nil || len(*said) != 1 {
			t.Error("the same again was announced", err)
		}
		if err := s.Replace(ctx, map[string]any{"volatile.uuid": id}); err != nil || len(config(t, s)) != 1 {
			t.Error(config(t, s), err)
		}
	}
}

// TestTable holds the keys against the published table.
func TestTable(t *testing.T) {
	f, err := os.Open("../../spec/config.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	groups, n := server.Table(), 0
	for _, row := range rows {
		if row[0] != "server" {
			continue
		}
		n++
		name := strings.NewReplacer("{", "<", "}", ">").Replace(row[2])
		found := false
		for _, k := range groups[row[1]] {
			if k.Name != name {
				continue
			}
			found = true
			if k.Local != (row[5] == "local") {
				t.Errorf("%s: scope", name)
			}
			if k.Default != row[4] && !strings.Contains(row[4], "host") {
				t.Errorf("%s: default %q, want %q", name, k.Default, row[4])
			}
			if (row[3] == "bool") != (k.Type.Name == "bool") || (row[3] == "integer") != (k.Type.Name == "integer") {
				t.Errorf("%s: type %s, want %s", name, k.Type.Name, row[3])
			}
		}
		if !found {
			t.Errorf("%s is not in group %s", name, row[1])
		}
	}
	have := 0
	for _, g := range groups {
		have += len(g)
	}
	if have != n || n == 0 || server.Keys().Entity() != "server" {
		t.Errorf("%d keys, the table has %d", have, n)
	}
}

func TestEnvironment(t *testing.T) {
	f := server.Facts{Name: "h", Driver: "lxc", DriverVersion: "5", Firewall: "nftables", Addresses: func() []string { return nil },
		StorageInUse: func(context.Context) ([]string, []string, error) {
			return []string{"dir", "btrfs"}, []string{"1", "6.2"}, nil
		}}
	e, err := f.Environment(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	if e.Server != "lxd" || e.ServerVersion != "6.7" || e.Project != "p" || e.ServerName != "h" || e.Storage != "dir | btrfs" ||
		e.StorageVersion != "1 | 6.2" || e.Kernel != "Linux" || e.KernelVersion == "" || e.ServerPid != int64(os.Getpid()) ||
		!slices.Contains(e.Architectures, e.KernelArchitecture) || !slices.Equal(e.BackupMetadataVersionRange, []int64{1, 2}) {
		t.Errorf("%+v", e)
	}
	if e.Addresses == nil || e.KernelFeatures == nil || e.LXCFeatures == nil || e.InstanceTypes == nil || e.StorageSupportedDrivers == nil {
		t.Error("a list or map would be null")
	}
	f.StorageInUse = func(context.Context) ([]string, []string, error) { return nil, nil, errors.New("no") }
	if _, err := f.Environment(t.Context(), "p"); err == nil {
		t.Error("the error is lost")
	}
}

func TestSecretsAreNotShownAndKept(t *testing.T) {
	s, _ := newService(t, "")
	id := config(t, s)["volatile.uuid"]
	replace := func(v any) {
		t.Helper()
		if err := s.Replace(t.Context(), map[string]any{"volatile.uuid": id, "oidc.client.id": "lxd", "oidc.client.secret": v}); err != nil {
			t.Fatal(err)
		}
	}
	replace("hush")
	shown := server.Shown(config(t, s))
	if shown["oidc.client.secret"] != true || shown["oidc.client.id"] != "lxd" {
		t.Error(shown)
	}
	for _, back := range []any{shown["oidc.client.secret"], "true"} { // what clients send back who changed something else
		replace(back)
		if got := config(t, s)["oidc.client.secret"]; got != "hush" {
			t.Error(back, got)
		}
	}
	replace(nil)
	if got, ok := config(t, s)["oidc.client.secret"]; ok {
		t.Error(got)
	}
	if err := s.Replace(t.Context(), map[string]any{"volatile.uuid": id, "oidc.client.secret": true}); err == nil {
		t.Error("a secret that is not there was kept")
	}
}
