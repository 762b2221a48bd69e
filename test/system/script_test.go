//go:build system

package system

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	document "lxd/doc/reference/api"
	"lxd/internal/app"
	"lxd/internal/rest"
	"lxd/internal/rest/openapi"
	"lxd/test/harness"
)

// TestScripts runs the behaviour scripts that also run in-process on fakes, each with a fresh daemon.
func TestScripts(t *testing.T) { runScripts(t, "../script", nil) }

// TestGuestScripts runs the scripts that need guests which really run: the daemon is set up and has an image called busybox.
func TestGuestScripts(t *testing.T) {
	runScripts(t, "script", func(t testing.TB, d *harness.Daemon) {
		d.Init()
		d.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
	})
}

// TestHowto runs every command in the guides; the image that they import is a busybox.
func TestHowto(t *testing.T) {
	harness.Bin(t)
	dir := t.TempDir()
	if err := harness.Howto("../../doc/howto", dir); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, harness.Params("real", dir, func(env *testscript.Env) error {
		if err := realDaemon(env, nil); err != nil {
			return err
		}
		return os.Rename(harness.WriteImage(env.T().(testing.TB), harness.Busybox(env.T().(testing.TB))), filepath.Join(env.WorkDir, "debian.tar.gz"))
	}))
}

// runScripts runs the scripts of each folder below root; prepare may do something to each new daemon.
func runScripts(t *testing.T, root string, prepare func(t testing.TB, d *harness.Daemon)) {
	harness.Bin(t)
	files, err := filepath.Glob(filepath.Join(root, "*", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts below %s: %v", root, err)
	}
	areas := map[string][]string{}
	for _, f := range files {
		areas[filepath.Dir(f)] = append(areas[filepath.Dir(f)], f)
	}
	for dir := range areas {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			testscript.Run(t, harness.Params("real", dir, func(env *testscript.Env) error { return realDaemon(env, prepare) }))
		})
	}
}

// realDaemon starts a daemon for one script.
func realDaemon(env *testscript.Env, prepare func(t testing.TB, d *harness.Daemon)) error {
	t := env.T().(testing.TB)
	d := harness.New(t)
	trust := "SSL_CERT_FILE=" + env.Getenv("SSL_CERT_FILE")
	d.Start(trust)
	if prepare != nil {
		prepare(t, d)
	}
	bin, err := filepath.Abs(os.Getenv("LXD_TEST_BIN"))
	if err != nil {
		return err
	}
	for k, v := range map[string]string{
		"LXD_DIR": d.Dir, "LXD_CONF": filepath.Join(filepath.Dir(d.Dir), "conf"), "HOME": env.WorkDir, "NETNS": d.Netns, "GUEST": harness.GuestTool(t),
		"LXD_SOCKET": filepath.Join(filepath.Dir(d.Dir), "proxy"), "PATH": bin + string(os.PathListSeparator) + env.Getenv("PATH"),
	} {
		env.Setenv(k, v)
	}
	harness.Listening(env)
	harness.Restarting(env, restarter{d, trust})
	return watch(env, d)
}

// watch looks at what a script asks and is answered through the local socket.
func watch(env *testscript.Env, d *harness.Daemon) error {
	checker, err := described()
	if err != nil {
		return err
	}
	seen := &harness.Conformity{Checker: checker}
	end, err := seen.Proxy(env.Getenv("LXD_SOCKET"), d.Socket)
	if err != nil {
		return err
	}
	env.Defer(func() {
		end()
		if faults, _ := seen.Faults(); len(faults) > 0 {
			env.T().Log("not as doc/reference/api/openapi.json says:\n" + strings.Join(faults, "\n"))
			env.T().FailNow()
		}
	})
	return nil
}

// described knows what may be asked and answered; it is read once.
var described = sync.OnceValues(func() (*openapi.Checker, error) {
	return openapi.NewChecker(document.OpenAPI, rest.Find(app.Routes()...))
})

// restarter restarts the daemon of a script.
type restarter struct {
	d     *harness.Daemon
	trust string
}

// Stop ends the daemon, if it runs.
func (r restarter) Stop() error {
	if r.d.Alive() {
		r.d.Terminate()
	}
	return nil
}

// Start starts it with the environment that it had.
func (r restarter) Start() error { return r.d.TryStart(r.trust) }
