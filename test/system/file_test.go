//go:build system

package system

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/test/harness"
)

// fileCall is one request about a file of c1.
func fileCall(d *harness.Daemon, c *http.Client, method, path string, body io.Reader, header ...string) (int, http.Header, []byte, error) {
	r, err := http.NewRequest(method, "http://lxd/1.0/instances/c1/files?path="+url.QueryEscape(path), body)
	if err != nil {
		return 0, nil, nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, b, err
}

func TestFilesOfContainers(t *testing.T) {
	d := ready(t)
	before := d.Traces(t)
	c := d.Client()
	call := func(method, path, body string, want int, header ...string) (http.Header, string) {
		t.Helper()
		code, h, b, err := fileCall(d, c, method, path, strings.NewReader(body), header...)
		if err != nil || code != want {
			t.Fatalf("%s %s: %d %s %v", method, path, code, b, err)
		}
		return h, string(b)
	}
	d.LXC("init", "busybox", "c1")
	call("POST", "/root/while-stopped", "one", 200, "X-LXD-uid", "1000", "X-LXD-mode", "0640")
	call("HEAD", "/root/while-stopped", "", 200)
	if diff := before.Diff(d.Traces(t)); strings.Contains(strings.Join(diff, "\n"), "mount") {
		t.Errorf("a mount is left: %v", diff)
	}
	d.LXC("start", "c1")
	if out := d.LXC("exec", "c1", "--", "stat", "-c", "%u %g %a %s", "/root/while-stopped"); strings.TrimSpace(out) != "1000 0 640 3" {
		t.Error(out)
	}
	call("POST", "/tmp/setuid", "two", 200, "X-LXD-gid", "5", "X-LXD-mode", "04711")
	if out := d.LXC("exec", "c1", "--", "stat", "-c", "%u %g %a", "/tmp/setuid"); strings.TrimSpace(out) != "0 5 4711" {
		t.Error(out)
	}
	d.LXC("exec", "c1", "--", "mount", "-t", "tmpfs", "tmpfs", "/run")
	call("POST", "/run/there", "in a mount of its own", 200)
	if out := d.LXC("exec", "c1", "--", "cat", "/run/there"); out != "in a mount of its own" {
		t.Error(out)
	}
	if h, b := call("GET", "/run/there", "", 200); b != "in a mount of its own" || h.Get("X-LXD-uid") != "0" {
		t.Error(h, b)
	}
	for _, path := range []string{"/proc/sys/kernel/core_pattern", "/proc/kallsyms", "/proc/1/root/etc/passwd", "/sys/kernel/notes", "/proc"} {
		if code, _, b, err := fileCall(d, c, "GET", path, nil); err != nil || code == 200 {
			t.Errorf("%s was read: %d %.40s %v", path, code, b, err)
		}
		if code, _, b, err := fileCall(d, c, "POST", path, strings.NewReader("x")); err != nil || code == 200 {
			t.Errorf("%s was written: %d %.40s %v", path, code, b, err)
		}
	}
	if code, _, _, _ := fileCall(d, c, "GET", "/dev/zero", nil); code != 400 {
		t.Error("a device was read:", code)
	}
	d.LXC("freeze", "c1")
	call("GET", "/tmp/setuid", "", 200)
	d.LXC("start", "c1")
	d.LXC("stop", "-f", "c1")
	call("GET", "/tmp/setuid", "", 200)
	call("DELETE", "/tmp/setuid", "", 200)
	d.LXC("delete", "c1")
	if diff := before.Diff(d.Traces(t)); len(diff) > 2 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

func TestFilesOfAHostFolderNeedItsRights(t *testing.T) {
	d := ready(t)
	shared := filepath.Join(filepath.Dir(d.Dir), "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"private": 0o600, "public": 0o644} {
		if err := os.WriteFile(filepath.Join(shared, name), []byte("host"), mode); err != nil {
			t.Fatal(err)
		}
	}
	d.LXC("launch", "busybox", "c1")
	d.LXC("stop", "-f", "c1")
	if out, err := d.TryLXC("config", "device", "add", "c1", "shared", "disk", "source="+shared, "path=/mnt"); err != nil {
		if strings.Contains(out, "not supported yet") {
			t.Skip("there are no disks of host folders yet: " + out)
		}
		t.Fatal(out)
	}
	d.LXC("start", "c1")
	c := d.Client()
	for _, q := range []struct {
		method, path string
		want         int
	}{{"GET", "/mnt/public", 200}, {"GET", "/mnt/private", 403}, {"POST", "/mnt/public", 403}, {"POST", "/mnt/new", 403}, {"DELETE", "/mnt/public", 403}} {
		if code, _, b, err := fileCall(d, c, q.method, q.path, strings.NewReader("")); code != q.want || err != nil {
			t.Errorf("%s %s: %d %s %v", q.method, q.path, code, b, err)
		}
	}
}

// TestHostileSwaps has a container exchange folders and files with links to the host while they are pushed, pulled and deleted.
func TestHostileSwaps(t *testing.T) {
	d := ready(t)
	swap := filepath.Join(t.TempDir(), "swap")
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", swap, "testdata/swap.c").CombinedOutput(); err != nil {
		t.Skipf("the guest's program cannot be built, install gcc and libc6-dev: %v: %s", err, out)
	}
	program, err := os.ReadFile(swap)
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(filepath.Dir(d.Dir), "outside")
	if err := os.Mkdir(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(outside, "f")
	if err := os.WriteFile(secret, []byte("host"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(outside, 0o777), os.Chmod(secret, 0o666)); err != nil {
		t.Fatal(err)
	}
	d.LXC("launch", "busybox", "c1")
	c := &http.Client{Transport: d.Client().Transport}
	if code, _, b, err := fileCall(d, c, "POST", "/swap", bytes.NewReader(program), "X-LXD-mode", "0755"); code != 200 {
		t.Fatal(code, string(b), err)
	}
	up := strings.Repeat("../", 40)
	script := fmt.Sprintf("mkdir -p /r/d /r/e; echo inside > /r/d/f; echo inside > /r/e/f; echo inside > /r/f; ln -s %[1]s /r/dl; ln -s %[2]s%[1]s /r/el; ln -s %[1]s/f /r/fl; "+
		"/swap /r/d /r/dl & /swap /r/e /r/el & /swap /r/f /r/fl & while true; do ln -sfn /proc/1/root%[1]s /r/m; ln -sfn /proc/self/cwd /r/m; done", outside, up)
	guest := d.Command(filepath.Join(os.Getenv("LXD_TEST_BIN"), "lxc"), "exec", "c1", "--", "sh", "-c", script)
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guest.Process.Kill(); _ = guest.Wait() }()
	eventually(t, "swaps", func() bool {
		code, _, _, _ := fileCall(d, c, "GET", "/r/fl", nil)
		return code == 200
	})
	done, passed := map[string]int{}, map[string]int{}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		for _, path := range []string{"/r/d/f", "/r/e/f", "/r/f", "/r/m/f", "/r/d/new"} {
			for _, method := range []string{"POST", "GET", "DELETE", "POST"} {
				if method == "DELETE" && path == "/r/f" {
					continue // it would end the swapping
				}
				code, _, b, err := fileCall(d, c, method, path, strings.NewReader("inside"), "X-LXD-mode", "0600", "X-LXD-uid", "7", "X-LXD-modify-perm", "uid,mode")
				if err != nil {
					t.Fatal(err)
				}
				if done[method]++; code == 200 {
					passed[method]++
				}
				if method == "GET" && bytes.Contains(b, []byte("host")) && code == 200 && !bytes.HasPrefix(b, []byte("/")) {
					t.Fatalf("%s: %s", path, b)
				}
			}
			_, _, _, _ = fileCall(d, c, "POST", "/r/d/folder", nil, "X-LXD-type", "directory")
			_, _, _, _ = fileCall(d, c, "POST", "/r/d/link", strings.NewReader("x"), "X-LXD-type", "symlink")
		}
	}
	t.Logf("requests %v, done %v", done, passed)
	if passed["GET"] == 0 || passed["POST"] == 0 || passed["GET"] == done["GET"] {
		t.Error("there was no race")
	}
	b, err := os.ReadFile(secret)
	st, _ := os.Stat(secret)
	left, _ := os.ReadDir(outside)
	if err != nil || string(b) != "host" || st.Mode() != 0o666 || len(left) != 1 {
		t.Errorf("the host's files were changed: %q %v %v %v", b, st.Mode(), left, err)
	}
}

func TestLargeFileTakesNoMemory(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	c := d.Client()
	zeros, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zeros.Close()
	const size = 100 << 20
	before := d.PeakMemory()
	code, _, b, err := fileCall(d, c, "POST", "/big", io.LimitReader(zeros, size))
	if code != 200 || err != nil {
		t.Fatal(code, string(b), err)
	}
	resp, err := c.Get("http://lxd/1.0/instances/c1/files?path=/big")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Fatal(n, err)
	}
	if grown := d.PeakMemory() - before; grown > 20<<20 {
		t.Errorf("the daemon grew by %d MiB", grown>>20)
	}
}

// TestAbandonedUpload kills a client half way.
func TestAbandonedUpload(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		_ = w.CloseWithError(fmt.Errorf("gone"))
	}()
	if code, _, _, err := fileCall(d, d.Client(), "POST", "/root/part", r); err == nil && code == 200 {
		t.Fatal("it was taken for whole")
	}
	eventually(t, "end of the upload", func() bool {
		out := strings.Fields(d.LXC("exec", "c1", "--", "ls", "-a", "/root"))
		return len(out) == 3 && out[2] == "part"
	})
}
