package server_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/server"
	"lxd/internal/undo"
)

// samples has a good and a bad value for every key; "" is none.
var samples = map[string]struct{ good, bad string }{
	"acme.agree_tos": {"true", "perhaps"}, "acme.ca_url": {"https://acme.example.org/directory", ""}, "acme.domain": {"lxd.example.org", ""},
	"acme.email":                {"a@example.org", ""},
	"cluster.healing_threshold": {"30", "soon"}, "cluster.https_address": {"10.0.0.1:8443", ""}, "cluster.images_minimal_replica": {"-1", "x"},
	"cluster.join_token_expiry": {"1H", ""}, "cluster.max_standby": {"3", "x"}, "cluster.max_voters": {"5", "x"}, "cluster.offline_threshold": {"30", "x"},
	"core.auth_secret_expiry": {"2m", ""}, "core.bgp_address": {":179", ""}, "core.bgp_asn": {"65000", ""}, "core.bgp_routerid": {"10.0.0.1", ""},
	"core.debug_address": {"127.0.0.1:8444", "1.2.3:1"}, "core.dns_address": {"127.0.0.1:53", ""}, "core.https_address": {"[::]:8443", "host:port"},
	"core.https_allowed_credentials": {"true", "2"}, "core.https_allowed_headers": {"Content-Type", "a\nb"}, "core.https_allowed_methods": {"GET, PUT", "a\nb"},
	"core.https_allowed_origin": {"*", "a\nb"}, "core.https_trusted_proxy": {"10.0.0.1, 10.0.0.2", "proxy"}, "core.metrics_address": {":9100", ":0"},
	"core.metrics_authentication": {"false", "maybe"}, "core.proxy_http": {"http://p:3128", "p"}, "core.proxy_https": {"http://p:3128", "ftp://p"},
	"core.proxy_ignore_hosts": {"a.example.org", "a\nb"}, "core.remote_token_expiry": {"1d", "1x"}, "core.shutdown_timeout": {"7", "-1"},
	"core.storage_buckets_address": {":8555", ""}, "core.syslog_socket": {"true", "x"}, "core.trust_ca_certificates": {"true", "x"},
	"images.auto_update_cached": {"false", "x"}, "images.auto_update_interval": {"12", "-1"}, "images.compression_algorithm": {"zstd -3", "rm -rf"},
	"images.default_architecture": {"aarch64", "a b"}, "images.remote_cache_expiry": {"3", "x"},
	"loki.api.ca_cert": {certificate, "x"}, "loki.api.url": {"http://127.0.0.1:3100", "127.0.0.1"}, "loki.auth.password": {"p", ""}, "loki.auth.username": {"u", ""},
	"loki.instance": {"me", ""}, "loki.labels": {"project", ""}, "loki.loglevel": {"debug", "loud"}, "loki.types": {"lifecycle", "operation"},
	"backups.compression_algorithm": {"none", "sh"}, "instances.migration.stateful": {"true", "x"}, "instances.nic.host_name": {"mac", "x"},
	"maas.api.key": {"k", ""}, "maas.api.url": {"http://m", ""}, "maas.machine": {"m", ""},
	"network.ovn.ca_cert": {"x", ""}, "network.ovn.client_cert": {"x", ""}, "network.ovn.client_key": {"x", ""}, "network.ovn.integration_bridge": {"br", ""},
	"network.ovn.northbound_connection": {"ssl:10.0.0.1:6641", ""},
	"storage.backups_volume":            {"p/v", "v"}, "storage.images_volume": {"p/v", "p/v/w"},
	"storage.project.default.backups_volume": {"p/v", "v"}, "storage.project.default.images_volume": {"p/v", "v"},
	"user.instances.placement.scriptlet": {"def x(): pass", ""}, "volatile.uuid": {"", "x"},
	"oidc.audience": {"a", ""}, "oidc.client.id": {"c", ""}, "oidc.client.secret": {"s", ""}, "oidc.groups.claim": {"g", ""},
	"oidc.issuer": {"https://i.example.org", ""}, "oidc.scopes": {"openid email", ""}, "oidc.session.expiry": {"1d", ""},
	"user.mine": {"anything\nat all", ""},
}

// certificate is somebody's.
const certificate = `-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIUW279GFv9/esOc2l/qJ5gYLZa474wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEbG9raTAeFw0yNjExMjIwNTI0NTBaFw0zNjExMTkwNTI0NTBa
MA8xDTALBgNVBAMMBGxva2kwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARyAyQb
uHyFfcoGnxq+QeWVNagbkz7LUYQ548XPs0d6umaQXkhUrbfrTL2xrvUArybrJvej
vB4cDOBuHqyUEh47o1MwUTAdBgNVHQ4EFgQU1fFYRRV+6ktY3HZ1TwYtQDSYe3gw
HwYDVR0jBBgwFoAU1fFYRRV+6ktY3HZ1TwYtQDSYe3gwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNIADBFAiBUPjheU9jKOPA/IY5aoSFehEr02AD/9fM0Ne+A
VfW2LQIhALBlM+pB8+e+28m+obYWgs/qwV9maiZqkuJQ/5utzXmO
-----END CERTIFICATE-----
`

// TestEveryKey: a good value is kept and can be unset; the default is left out; a bad value is refused and changes nothing; what
// does not exist yet is refused with an error that says so.
func TestEveryKey(t *testing.T) {
	seen := map[string]bool{}
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			k, ok := server.Keys().Lookup(name)
			if !ok {
				t.Fatal("there is no such key")
			}
			seen[k.Name] = true
			s, said := newService(t, "")
			before := config(t, s)
			set := func(value string) error {
				next := map[string]any{"volatile.uuid": before["volatile.uuid"]}
				if value != "" {
					next[name] = value
				}
				return s.Replace(t.Context(), next)
			}
			refused := func(what, value, why string) {
				if err := set(value); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %v", what, err)
				}
				if now := config(t, s); !maps.Equal(before, now) || len(*said) > 0 {
					t.Errorf("%s: something changed: %v", what, now)
				}
			}
			if sample.bad != "" {
				refused("bad", sample.bad, "")
			}
			if k.Later {
				refused("not yet", sample.good, "not supported yet by this server")
				return
			}
			if sample.good == "" {
				return
			}
			if err := set(sample.good); err != nil || config(t, s)[name] != sample.good {
				t.Fatal("good:", config(t, s), err)
			}
			if v, err := s.Get(t.Context(), name); v != sample.good || err != nil {
				t.Error(v, err)
			}
			for _, none := range []string{k.Default, ""} {
				if err := set(none); err != nil || !maps.Equal(before, config(t, s)) {
					t.Error("unset:", config(t, s), err)
				}
			}
			if v, err := s.Get(t.Context(), name); v != k.Default || err != nil {
				t.Error("the default:", v, err)
			}
		})
	}
	for _, k := range server.Keys().Keys() {
		if !seen[k.Name] {
			t.Errorf("%s was not tried", k.Name)
		}
	}
}

// TestSecretsAreNotRepeated in what is said of them.
func TestSecretsAreNotRepeated(t *testing.T) {
	for _, k := range server.Keys().Keys() {
		if !k.Secret {
			continue
		}
		s, _ := newService(t, "")
		err := s.Replace(t.Context(), map[string]any{"volatile.uuid": config(t, s)["volatile.uuid"], k.Name: []any{"hush"}})
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Error(k.Name, err)
		}
	}
}

// TestRejectedEffects: when one effect of a change fails, those before it are taken back and nothing is kept.
func TestRejectedEffects(t *testing.T) {
	s, said := newService(t, "")
	before := config(t, s)
	at, applied := "", 0
	s.Listen = map[string]func(string) error{server.HTTPSAddress: func(address string) error { at = address; return nil }}
	s.Apply = func(_ context.Context, u *undo.Stack, _, next map[string]string) error {
		applied++
		u.Add("effect", func(context.Context) error { applied--; return nil })
		if next["user.fail"] != "" {
			return fmt.Errorf("it cannot be")
		}
		return nil
	}
	changed := 0
	s.Changed = func(map[string]string) { changed++ }
	next := map[string]any{"volatile.uuid": before["volatile.uuid"], "core.https_address": ":8443", "user.fail": "x"}
	if err := s.Replace(t.Context(), next); err == nil || at != "" || applied != 0 || changed != 0 || len(*said) != 0 || !maps.Equal(before, config(t, s)) {
		t.Error(at, applied, changed, config(t, s), err)
	}
	delete(next, "user.fail")
	if err := s.Replace(t.Context(), next); err != nil || at != ":8443" || applied != 1 || changed != 1 || len(*said) != 1 {
		t.Error(at, applied, changed, err)
	}
}
