package proxy_test

import (
	"context"
	"maps"
	"os"
	"strings"
	"testing"

	"lxd/internal/device"
	"lxd/internal/driver/device/proxy"
	"lxd/internal/host/relay"
	"lxd/internal/network/forward"
)

// keeper records what is asked of it.
type keeper struct {
	jobs       map[string]relay.Job
	translated map[string]forward.Rule
}

func (k *keeper) Start(_ context.Context, name string, j relay.Job) error {
	k.jobs[name] = j
	return nil
}
func (k *keeper) Stop(_ context.Context, name string) error { delete(k.jobs, name); return nil }
func (k *keeper) Translate(_ context.Context, name string, t forward.Rule) error {
	k.translated[name] = t
	return nil
}
func (k *keeper) Untranslate(_ context.Context, name string) error {
	delete(k.translated, name)
	return nil
}

// machine is one that has a number and nothing else.
type machine struct{}

func (machine) PID() int                           { return 42 }
func (machine) Namespace(string) (*os.File, error) { return nil, os.ErrNotExist }

func config(pairs ...string) device.Config {
	c := device.Config{"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "tcp:127.0.0.1:8080"}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

var env = device.Env{Project: "default", Instance: "c1", Name: "p", IDMap: []device.IDRange{{Host: 100000, Inside: 0, Size: 1000}}}

func TestRefused(t *testing.T) {
	k := &keeper{}
	for name, c := range map[string]struct {
		cfg  device.Config
		want string
	}{
		"no network":        {config("listen", "127.0.0.1:80"), "tcp:"},
		"no port":           {config("listen", "tcp:127.0.0.1"), "ports"},
		"port 0":            {config("listen", "tcp:127.0.0.1:0"), "65535"},
		"backwards":         {config("listen", "tcp:127.0.0.1:9-8"), "65535"},
		"a name":            {config("connect", "tcp:example.com:80"), "not looked up"},
		"counts":            {config("listen", "tcp:127.0.0.1:80-82", "connect", "tcp:127.0.0.1:80-81"), "3 ports"},
		"udp to tcp":        {config("listen", "udp:127.0.0.1:80"), "UDP"},
		"relative path":     {config("listen", "unix:run/x"), "whole path"},
		"path with dots":    {config("listen", "unix:/run/../x"), "whole path"},
		"nothing":           {config("listen", ""), "missing"},
		"unknown key":       {config("colour", "red"), "colour"},
		"bad mode":          {config("listen", "unix:/x", "mode", "rwx"), "octal"},
		"mode of a port":    {config("mode", "0600"), "Unix socket"},
		"header over udp":   {config("listen", "udp:127.0.0.1:80", "connect", "udp:127.0.0.1:80", "proxy_protocol", "true"), "proxy_protocol"},
		"too many":          {config("listen", "tcp:127.0.0.1:1-60000"), "nat=true"},
		"nat inside":        {config("nat", "true", "bind", "instance"), "bind"},
		"nat on all":        {config("nat", "true", "listen", "tcp:0.0.0.0:80", "connect", "tcp:10.0.0.2:80"), "0.0.0.0"},
		"nat to itself":     {config("nat", "true", "listen", "tcp:10.0.0.1:80"), "NIC"},
		"nat of a socket":   {config("nat", "true", "connect", "unix:/x"), "TCP"},
		"nat across family": {config("nat", "true", "listen", "tcp:10.0.0.1:80", "connect", "tcp:[fd42::1]:80"), "family"},
	} {
		if _, err := proxy.Kind(k, k).New(t.Context(), env, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "proxy p") {
			t.Errorf("%s: %v, want one about %q", name, err, c.want)
		}
	}
	if _, err := proxy.Kind(k, nil).New(t.Context(), env, config("nat", "true", "listen", "tcp:10.0.0.1:80", "connect", "tcp:10.0.0.2:80")); err == nil {
		t.Error("nat without a firewall")
	}
	gone := env
	gone.Leaving = true
	if d, err := proxy.Kind(k, nil).New(t.Context(), gone, config("listen", "broken")); err != nil || d.Detach(t.Context()) != nil {
		t.Error("one that is leaving need not be right any more", err)
	}
}

func start(t *testing.T, k *keeper, cfg device.Config) (device.Device, relay.Job) {
	t.Helper()
	before := maps.Clone(cfg)
	d, err := proxy.Kind(k, k).New(t.Context(), env, cfg)
	if err != nil || !maps.Equal(before, cfg) {
		t.Fatal(err, cfg)
	}
	if _, err := d.Attach(t.Context()); err != nil || len(k.jobs) > 0 {
		t.Fatal(err, k.jobs)
	}
	if err := d.(device.Starter).Start(t.Context(), machine{}); err != nil {
		t.Fatal(err)
	}
	for _, j := range k.jobs {
		return d, j
	}
	return d, relay.Job{}
}

func TestJob(t *testing.T) {
	k := &keeper{jobs: map[string]relay.Job{}, translated: map[string]forward.Rule{}}
	d, j := start(t, k, config("listen", "tcp:[::]:80-81,90", "connect", "tcp:127.0.0.1:8080", "security.uid", "5"))
	if len(j.Rules) != 3 || j.Rules[2].Listen.Address != "[::]:90" || j.Rules[2].Connect.Address != "127.0.0.1:8080" || !j.Inside || j.UID != 100005 || j.GID != 100000 || j.RootUID != 100000 {
		t.Errorf("%+v", j)
	}
	if err := d.Detach(t.Context()); err != nil || len(k.jobs) > 0 {
		t.Error(err, k.jobs)
	}
	_, j = start(t, k, config("bind", "guest", "listen", "unix:/run/x", "connect", "unix:@y", "uid", "7", "mode", "0600", "security.gid", "8"))
	if j.Inside || j.UID != 0 || j.GID != 8 || j.Owner.UID != 100007 || j.Owner.Mode != 0o600 || j.Rules[0].Connect.Address != "@y" {
		t.Errorf("%+v", j)
	}
	far, err := proxy.Kind(k, k).New(t.Context(), env, config("security.uid", "5000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := far.(device.Starter).Start(t.Context(), machine{}); err == nil || !strings.Contains(err.Error(), "5000") {
		t.Error(err)
	}
}

func TestTranslation(t *testing.T) {
	k := &keeper{jobs: map[string]relay.Job{}, translated: map[string]forward.Rule{}}
	d, _ := start(t, k, config("nat", "true", "listen", "udp:10.0.0.1:53,54", "connect", "udp:10.1.0.2:53"))
	if len(k.jobs) > 0 || len(k.translated) != 1 {
		t.Fatal(k)
	}
	for _, r := range k.translated {
		if p := r.Ports[0]; r.Listen.String() != "10.0.0.1" || p.Protocol != "udp" || forward.Count(p.Listen) != 2 || p.Target.String() != "10.1.0.2" || forward.Count(p.To) != 1 {
			t.Errorf("%+v", r)
		}
	}
	if err := d.Detach(t.Context()); err != nil || len(k.translated) > 0 {
		t.Error(err, k.translated)
	}
}
