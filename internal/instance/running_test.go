package instance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/network"
	"lxd/internal/op"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// Instances that ask for a number of CPUs are spread over those that there are, also when the daemon was restarted meanwhile.
func TestCPUsAreSpread(t *testing.T) {
	w := newWorld(t)
	sets := map[string]string{}
	begin := func(name, cpu string) {
		t.Helper()
		post := request(name)
		post.Config, post.Start = map[string]string{"limits.cpu": cpu}, true
		if err := w.create(t, post); err != nil {
			t.Fatal(err)
		}
		sets[name] = w.host.get("default_" + name).plan.Limits.CPUSet
	}
	begin("a", "2")
	begin("b", "1")
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin("c", "1")
	begin("d", "3-3")
	begin("e", "100")
	want := map[string]string{"a": "0-1", "b": "2", "c": "3", "d": "3-3", "e": "0-3"}
	for name, set := range want {
		if sets[name] != set {
			t.Errorf("%s has %q, not %q", name, sets[name], set)
		}
	}
	if err := w.state(t, "b", "stop", 0); err != nil {
		t.Fatal(err)
	}
	begin("f", "1")
	if sets["f"] != "2" {
		t.Errorf("a CPU that became free is not used: %q", sets["f"])
	}
	w.failing(t, "machine start")
	post := request("g")
	post.Config, post.Start = map[string]string{"limits.cpu": "4"}, true
	if err := w.create(t, post); err == nil {
		t.Fatal("started")
	}
	if a := w.get(t, "g"); a.Status != "Stopped" {
		t.Error("a start that fails after the creation leaves no instance:", a.Status)
	}
}

// What a device does in the daemon's own process begins anew with each daemon.
func TestDevicesServe(t *testing.T) {
	w := newWorld(t)
	post := request("c1")
	post.Start = true
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	serves := func() bool {
		w.host.mu.Lock()
		defer w.host.mu.Unlock()
		pid := w.host.serving["default_c1_eth0"]
		return pid != 0 && pid == w.host.machines["default_c1"].handle.PID
	}
	if !serves() {
		t.Fatal("not at the start")
	}
	w.host.mu.Lock()
	clear(w.host.serving)
	w.host.mu.Unlock()
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil || !serves() {
		t.Fatal("not after a restart of the daemon", err)
	}
	w.failing(t, "serve")
	if err := w.state(t, "c1", "restart", 0); err == nil || len(w.host.left()) != 1 {
		t.Fatal("a device that does not serve:", err, w.host.left())
	}
}

func TestNetworkPorts(t *testing.T) {
	w := newWorld(t)
	post := request("c1")
	post.Devices = instance.Devices{
		"eth1": {"type": "nic", "network": "br0", "name": "eth1", "hwaddr": "00:16:3E:00:00:01"},
		"eth2": {"type": "none"},
	}
	if err := errors.Join(w.create(t, post), w.create(t, request("c2"))); err != nil {
		t.Fatal(err)
	}
	ports := func(proj, name string) (all []string) {
		var list []network.Port
		err := w.st.View(t.Context(), func(tx store.Tx) (err error) {
			list, err = w.svc.NetworkPorts(tx, proj, name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if p.Hwaddr == "" {
				t.Error("no address:", p)
			}
			all = append(all, p.Instance+"/"+p.Device)
		}
		return all
	}
	if got := ports("default", "br0"); !slices.Equal(got, []string{"c1/eth0", "c1/eth1", "c2/eth0"}) {
		t.Error(got)
	}
	if got := append(ports("default", "br1"), ports("other", "br0")...); len(got) > 0 {
		t.Error(got)
	}
	if err := errors.Join(w.remove(t, "c1", false), w.remove(t, "c2", false)); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "the network is told", func() bool { return len(w.nets.all()) > 0 })
	time.Sleep(300 * time.Millisecond)
	if told := w.nets.all(); !slices.Equal(told, []string{"default/br0"}) {
		t.Error("not once:", told)
	}
	w.nets.mu.Lock()
	defer w.nets.mu.Unlock()
	if gone := w.nets.gone; !slices.Equal(gone, []string{"default/c1/eth0", "default/c1/eth1", "default/c2/eth0"}) {
		t.Error("deleted with them:", gone)
	}
}

func TestConsole(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	spec, err := w.svc.Console(t.Context(), "default", "c1", api.InstanceConsolePost{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.ops.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _ = o.Connect(rw, r) }))
	defer srv.Close()
	conns := map[string]*websocket.Conn{}
	for name, secret := range spec.Metadata["fds"].(map[string]string) {
		c, _, err := websocket.DefaultDialer.Dial(strings.Replace(srv.URL, "http", "ws", 1)+"?secret="+secret, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		defer c.Close()
		conns[name] = c
	}
	_ = conns["0"].WriteMessage(websocket.BinaryMessage, []byte("typed"))
	if _, b, err := conns["0"].ReadMessage(); err != nil || string(b) != "typed" {
		t.Error(string(b), err)
	}
	_ = conns["control"].Close()
	if err := o.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	_, err = w.svc.Console(t.Context(), "default", "c1", api.InstanceConsolePost{Type: "vga"})
	is(t, "vga", err, errs.Invalid, "vga")
}

func TestConsoleLog(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	read := func() string {
		b, err := w.svc.ConsoleLog(t.Context(), "default", "c1")
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if got := read(); got != "it runs\n" {
		t.Errorf("%q", got)
	}
	if err := w.state(t, "c1", "stop", 0); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "" {
		t.Errorf("%q", got)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "logs/c1/console.log"), []byte("it ran\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "it ran\n" {
		t.Errorf("%q", got)
	}
	if err := w.svc.ClearConsoleLog(t.Context(), "default", "c1"); err != nil || read() != "" {
		t.Error(err)
	}
	_, err := w.svc.ConsoleLog(t.Context(), "default", "nope")
	is(t, "missing", err, errs.NotFound)
}

func TestExecRefusals(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	ok := []string{"true"}
	for name, c := range map[string]struct {
		post api.InstanceExecPost
		kind errs.Kind
	}{
		"no command":          {api.InstanceExecPost{}, errs.Invalid},
		"empty command":       {api.InstanceExecPost{Command: []string{""}}, errs.Invalid},
		"NUL":                 {api.InstanceExecPost{Command: []string{"a\x00b"}}, errs.Invalid},
		"NUL in the folder":   {api.InstanceExecPost{Command: ok, Cwd: "/\x00"}, errs.Invalid},
		"variable name":       {api.InstanceExecPost{Command: ok, Environment: map[string]string{"A=B": "c"}}, errs.Invalid},
		"variable value":      {api.InstanceExecPost{Command: ok, Environment: map[string]string{"A": "\x00"}}, errs.Invalid},
		"user":                {api.InstanceExecPost{Command: ok, User: -1}, errs.Invalid},
		"group":               {api.InstanceExecPost{Command: ok, Group: 1 << 32}, errs.Invalid},
		"interactive, alone":  {api.InstanceExecPost{Command: ok, Interactive: true}, errs.Invalid},
		"record, attached":    {api.InstanceExecPost{Command: ok, RecordOutput: true, WaitForWS: true}, errs.Invalid},
		"record, interactive": {api.InstanceExecPost{Command: ok, RecordOutput: true, Interactive: true}, errs.Invalid},
	} {
		_, err := w.svc.Exec(t.Context(), "default", "c1", c.post)
		is(t, name, err, c.kind)
	}
	_, err := w.svc.Exec(t.Context(), "default", "nope", api.InstanceExecPost{Command: ok})
	is(t, "missing", err, errs.NotFound)
	if err := w.state(t, "c1", "freeze", 0); err != nil {
		t.Fatal(err)
	}
	_, err = w.svc.Exec(t.Context(), "default", "c1", api.InstanceExecPost{Command: ok})
	is(t, "frozen", err, errs.Invalid, "frozen")
}

// A command that cannot be started fails its operation, with -1 as the code.
func TestExecFails(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	spec, err := w.svc.Exec(t.Context(), "default", "c1", api.InstanceExecPost{Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.ops.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(t.Context()); err == nil || o.API().Metadata["return"] != -1 {
		t.Error(err, o.API().Metadata)
	}
}

// An instance that does not come up with the server is warned of until it runs.
func TestAutostartFailure(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"c1", "c2"} {
		post := request(name)
		post.Config = map[string]string{"boot.autostart": "true"}
		if err := w.create(t, post); err != nil {
			t.Fatal(err)
		}
	}
	warned := func() (out []string) {
		all, err := warning.New(warning.Deps{Store: w.st}).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			out = append(out, a.Type+" "+a.Project+" "+a.EntityURL+" "+a.Status)
		}
		slices.Sort(out)
		return out
	}
	w.svc.Shutdown(t.Context())
	w.failing(t, "machine start")
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "two warnings", func() bool {
		return slices.Equal(warned(), []string{
			"Failed to autostart instance default /1.0/instances/c1 new", "Failed to autostart instance default /1.0/instances/c2 new",
		})
	})
	w.heal("machine start")
	if err := w.state(t, "c1", "start", 0); err != nil {
		t.Fatal(err)
	}
	if got := warned(); got[0] != "Failed to autostart instance default /1.0/instances/c1 resolved" {
		t.Error(got)
	}
	if err := w.remove(t, "c2", true); err != nil {
		t.Fatal(err)
	}
	if got := warned(); len(got) != 1 {
		t.Error("the warning stays without its instance:", got)
	}
}

// A proxy that the firewall makes does not reach neighbours on the bridge unless bridged packets pass the firewall; here those of IPv6 do.
func TestProxyWithoutBridgeFilter(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		listen, nat string
		want        int
	}{"c1": {"tcp:192.0.2.1:80", "true", 1}, "c2": {"tcp:[2001:db8::1]:80", "true", 0}, "c3": {"tcp:192.0.2.1:80", "false", 0}} {
		post := request(name)
		post.Devices = map[string]map[string]string{"web": {"type": "proxy", "listen": c.listen, "nat": c.nat}}
		maps.Copy(post.Devices, request(name).Devices)
		if err := w.create(t, post); err != nil {
			t.Fatal(err)
		}
		if err := w.state(t, name, "start", 0); err != nil {
			t.Fatal(err)
		}
		all, err := warning.New(warning.Deps{Store: w.st}).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(a api.Warning) bool { return a.EntityURL != "/1.0/instances/"+name })
		if len(all) != c.want || c.want == 1 && all[0].Type != api.WarningProxyBridgeNetfilterNotEnabled.String() {
			t.Error(name, all)
		}
	}
}

// The order in which a starting server brings instances up is that of their priorities.
func TestBootOrder(t *testing.T) {
	w := newWorld(t)
	for name, priority := range map[string]string{"low": "-5", "high": "10", "mid": ""} {
		post := request(name)
		post.Config = map[string]string{"boot.autostart": "true", "boot.autostart.priority": priority}
		if err := w.create(t, post); err != nil {
			t.Fatal(err)
		}
	}
	never := request("never")
	never.Config, never.Start = map[string]string{"boot.autostart": "false"}, true
	if err := w.create(t, never); err != nil {
		t.Fatal(err)
	}
	w.svc.Shutdown(t.Context())
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"high", "mid", "low"} {
		w.eventually(t, name, func() bool { return w.get(t, name).Status == "Running" })
	}
	var used []time.Time
	for _, name := range []string{"high", "mid", "low"} {
		used = append(used, w.get(t, name).LastUsedAt)
	}
	if !used[0].Before(used[1]) || !used[1].Before(used[2]) {
		t.Error(used)
	}
	if a := w.get(t, "never"); a.Status != "Stopped" {
		t.Error(a.Status)
	}
}

// An instance that does not heed the shutdown of the server in its time is ended.
func TestShutdownOfTheDeaf(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		post := request(fmt.Sprintf("c%d", i))
		post.Config = map[string]string{"boot.stop.priority": fmt.Sprint(i), "boot.host_shutdown_timeout": "1"}
		post.Start = true
		if err := w.create(t, post); err != nil {
			t.Fatal(err)
		}
	}
	w.host.get("default_c1").deaf = true
	w.svc.Shutdown(t.Context())
	for _, l := range w.left() {
		if !strings.HasPrefix(l, "volume ") {
			t.Error("left:", l)
		}
	}
}

// A change made through the wire form of an operation's arguments is understood by the recoverers, and nonsense is refused.
func TestRecoverersReadTheirArguments(t *testing.T) {
	w := newWorld(t)
	for kind, r := range w.svc.Recoverers() {
		if err := r(context.Background(), op.Journal{Kind: kind, Args: json.RawMessage(`{"Project":"default","Name":"gone"}`)}); err != nil {
			t.Error(kind, err)
		}
		if err := r(context.Background(), op.Journal{Kind: kind, Args: json.RawMessage(`[`)}); err == nil {
			t.Error(kind, "reads nonsense")
		}
	}
}

func TestRename(t *testing.T) {
	w := newWorld(t)
	w.started(t, "up")
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from string
		post api.InstancePost
		kind errs.Kind
	}{
		"missing":  {"nope", api.InstancePost{Name: "c2"}, errs.NotFound},
		"bad name": {"c1", api.InstancePost{Name: "a_b"}, errs.Internal},
		"move":     {"c1", api.InstancePost{Pool: "nope"}, errs.NotFound},
		"live":     {"up", api.InstancePost{Name: "c2", Live: true}, errs.Unsupported},
		"project":  {"c1", api.InstancePost{Project: "nope"}, errs.NotFound},
		"taken":    {"c1", api.InstancePost{Name: "c1"}, errs.Conflict},
	} {
		_, err := w.svc.Rename(t.Context(), "default", c.from, c.post)
		is(t, name, err, c.kind)
	}
	if err := w.run(w.svc.Rename(t.Context(), "default", "c1", api.InstancePost{Name: "c2", Live: true})); err != nil {
		t.Error("one that does not run:", err)
	}
	// An interface that the client names would be removed from the host when the instance stops, or fails to start.
	post := api.InstancePost{Name: "c3", Pool: "other", Config: map[string]string{
		"user.a": "1", "volatile.eth0.host_name": "lxdbr0", "volatile.last_state.power": "RUNNING", "volatile.idmap.base": "7",
	}}
	before := w.get(t, "c2").Config
	if err := w.run(w.svc.Rename(t.Context(), "default", "c2", post)); err != nil {
		t.Fatal(err)
	}
	after := w.get(t, "c3").Config
	for _, k := range []string{"volatile.eth0.host_name", "volatile.last_state.power", "volatile.idmap.base"} {
		if after[k] != before[k] {
			t.Errorf("the client of a move decides on %s: %q, it was %q", k, after[k], before[k])
		}
	}
	if after["user.a"] != "1" {
		t.Error(after)
	}
}
