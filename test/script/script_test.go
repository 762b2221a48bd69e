// Package script runs the behaviour scripts against a daemon on fake backends, in this process; test/system runs the same files
// against the built programs.
package script

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	document "lxd/doc/reference/api"
	"lxd/internal/admin"
	"lxd/internal/app"
	"lxd/internal/cli"
	"lxd/internal/driver/all"
	links "lxd/internal/driver/device/nic/fake"
	machine "lxd/internal/driver/machine/fake"
	bridge "lxd/internal/driver/network/fake"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/host/relay"
	"lxd/internal/network"
	"lxd/internal/rest"
	"lxd/internal/rest/openapi"
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/store/etcd"
	"lxd/test/harness"
)

// TestMain lets the scripts run this test program as lxc and lxd.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"lxc": func() { os.Exit(cli.New().Run(context.Background(), os.Args[1:])) },
		"lxd": func() {
			p := &admin.Program{Version: app.Version, Connect: admin.Local, Manifest: app.Manifest, Needed: app.Needed, Run: func(context.Context, admin.Daemon) error {
				return fmt.Errorf("the daemon of a script is started by the test")
			}}
			if err := p.Root().ExecuteContext(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, "Error:", err)
				os.Exit(1)
			}
		},
	})
}

// opener opens the state of a daemon.
type opener func(dir string, o store.Options) (store.Store, error)

func inMemory(_ string, o store.Options) (store.Store, error) { return store.NewMem(o), nil }

func onEtcd(dir string, o store.Options) (store.Store, error) {
	return etcd.Open(context.Background(), etcd.Config{Dir: dir}, o)
}

// TestScripts runs all scripts, each with a daemon of its own.
func TestScripts(t *testing.T) {
	for _, dir := range areas(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, harness.Params("fake", dir, lasting(dir)))
		})
	}
}

// TestScriptsOnEtcd runs those of one area on the state engine that real daemons have.
func TestScriptsOnEtcd(t *testing.T) {
	testscript.Run(t, harness.Params("fake", "profile", setup(onEtcd)))
}

// TestHowto runs every command in the guides.
func TestHowto(t *testing.T) {
	dir := t.TempDir()
	if err := harness.Howto("../../doc/howto", dir); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, harness.Params("fake", dir, lasting(dir)))
}

// TestEtagsOfAll finds every PUT that honours If-Match in the script that sends a wrong one.
func TestEtagsOfAll(t *testing.T) {
	script, err := os.ReadFile("server/etag.txtar")
	if err != nil {
		t.Fatal(err)
	}
	asked, find := map[string]bool{
		"PUT /1.0/auth/identities/oidc/{nameOrIdentifier}":               true, // is made by whoever logs in
		"PUT /1.0/networks/{networkName}/load-balancers/{listenAddress}": true, // no network has one
		"PUT /1.0/networks/{networkName}/peers/{peerName}":               true,
		"PUT /1.0/network-zones/{zone}":                                  true, // there are none yet
		"PUT /1.0/placement-groups/{name}":                               true,
		"PUT /1.0/storage-pools/{poolName}/buckets/{bucketName}":         true,
		"PUT /1.0/warnings/{id}":                                         true, // comes by itself
	}, rest.Find(app.Routes()...)
	for line := range strings.Lines(string(script)) {
		if f := strings.Fields(line); len(f) > 3 && strings.Join(f[:3], " ") == "! http PUT" {
			asked[find("PUT", f[3])] = true
		}
	}
	for _, table := range app.Routes() {
		for _, r := range table {
			if r.Doc.Matches && strings.HasPrefix(r.Pattern, "PUT ") && !asked[r.Pattern] {
				t.Errorf("%s is not asked with a wrong If-Match", r.Pattern)
			}
		}
	}
}

func areas(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, e.Name())
		}
	}
	if len(all) == 0 {
		t.Fatal("there are no scripts")
	}
	return all
}

// setup starts a daemon on fakes. Its folder is not below the script's, since the path of a socket must be short.
func setup(open opener) func(env *testscript.Env) error {
	return func(env *testscript.Env) error {
		root, err := os.MkdirTemp("/tmp", "lxds")
		if err != nil {
			return err
		}
		env.Defer(func() { _ = os.RemoveAll(root) })
		set, err := fakes("")
		if err != nil {
			return err
		}
		checker, err := described()
		if err != nil {
			return err
		}
		seen := &harness.Conformity{Checker: checker}
		d := &daemon{options: app.Options{Dir: filepath.Join(root, "lxd"), Store: open, Backends: func(string) (all.Set, error) { return set, nil }, Around: seen.Around}}
		if err := d.Start(); err != nil {
			return err
		}
		env.Defer(func() {
			if faults, _ := seen.Faults(); len(faults) > 0 {
				env.T().Log("not as doc/reference/api/openapi.json says:\n" + strings.Join(faults, "\n"))
				env.T().FailNow()
			}
		})
		env.Defer(func() {
			if err := d.Stop(); err != nil {
				env.T().Log(err)
				env.T().FailNow()
			}
		})
		for k, v := range map[string]string{
			"LXD_DIR": filepath.Join(root, "lxd"), "LXD_CONF": filepath.Join(root, "conf"), "HOME": env.WorkDir,
		} {
			env.Setenv(k, v)
		}
		harness.Listening(env)
		harness.Restarting(env, d)
		return nil
	}
}

// lasting opens a store that survives the daemon for the scripts in dir that restart it, and one in memory for the others.
func lasting(dir string) func(env *testscript.Env) error {
	return func(env *testscript.Env) error {
		if harness.Restarts(dir, strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")) {
			return setup(onEtcd)(env)
		}
		return setup(inMemory)(env)
	}
}

// daemon is that of one script.
type daemon struct {
	options app.Options
	now     *app.App
}

// Start starts it in this process. The files of the one before may be held for a moment by programs that this process is just starting.
func (d *daemon) Start() error {
	for try := 0; ; try++ {
		a, err := app.Open(context.Background(), d.options)
		if err == nil {
			d.now = a
		}
		if try == 50 || err == nil || !strings.Contains(err.Error(), "already locked") {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stop ends it, if it runs.
func (d *daemon) Stop() error {
	a := d.now
	d.now = nil
	if a == nil {
		return nil
	}
	return a.Close(context.Background())
}

// described knows what may be asked and answered; it is read once.
var described = sync.OnceValues(func() (*openapi.Checker, error) {
	return openapi.NewChecker(document.OpenAPI, rest.Find(app.Routes()...))
})

// fakes are backends that need neither root nor the kernel's help.
func fakes(string) (all.Set, error) {
	return all.Set{
		Links:   &links.Links{},
		Machine: (&machine.Host{}).Driver(), Storage: []storage.Driver{mem.New("dir")}, Networks: []network.Driver{bridge.New()},
		Relays: relays{}, Firewall: "nftables", Close: func() error { return nil },
	}, nil
}

// relays carry nothing: the machines of the fakes have no processes.
type relays struct{}

func (relays) Start(context.Context, string, relay.Job) error { return nil }
func (relays) Stop(context.Context, string) error             { return nil }
