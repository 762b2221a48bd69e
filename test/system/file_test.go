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
	d.LXC("config", "device", "add", "c1", "shared", "disk", "source="+shared, "path=/mnt")
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

// TestOtherSFTPClients has OpenSSH's sftp, and sshfs if it is there, work on files of a container.
func TestOtherSFTPClients(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	lxc := filepath.Join(os.Getenv("LXD_TEST_BIN"), "lxc")
	if _, err := exec.LookPath("sftp"); err != nil {
		t.Skip("needs sftp: install openssh-client")
	}
	m := d.Command(lxc, "file", "mount", "c1", "--no-auth", "--listen", "127.0.0.1:0")
	out, err := m.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Process.Signal(os.Interrupt); _ = m.Wait() }()
	buf := make([]byte, 200)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(strings.SplitN(string(buf[:n]), "\n", 2)[0], "listening on 127.0.0.1:")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "batch"), []byte("put batch /root/batch\nmkdir /root/d\nln -s ../batch /root/d/l\nget /root/d/l back\nchmod 600 /root/batch\nrename /root/batch /root/b2\nls -l /root\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := d.Command("sftp", "-q", "-P", strings.TrimSpace(address), "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oPreferredAuthentications=none", "-b", "batch", "root@127.0.0.1")
	c.Dir = dir
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("sftp: %v: %s", err, b)
	}
	if a, b := read(t, dir+"/batch"), read(t, dir+"/back"); a != b {
		t.Errorf("%q came back as %q", a, b)
	}
	if got := d.LXC("exec", "c1", "--", "stat", "-c", "%u %a", "/root/b2"); strings.TrimSpace(got) != "0 600" {
		t.Error(got)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSSHFS(t *testing.T) {
	if _, err := exec.LookPath("sshfs"); err != nil {
		t.Skip("needs sshfs: install it")
	}
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	d.LXC("exec", "c1", "--", "sh", "-c", "echo inside > /root/f")
	mnt := filepath.Join(filepath.Dir(d.Dir), "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	m := d.Command(filepath.Join(os.Getenv("LXD_TEST_BIN"), "lxc"), "file", "mount", "c1/root", mnt)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Process.Signal(os.Interrupt)
		_ = m.Wait()
		_ = exec.Command("umount", mnt).Run()
	})
	eventually(t, "the mount", func() bool { _, err := os.Stat(mnt + "/f"); return err == nil })
	if got := read(t, mnt+"/f"); got != "inside\n" {
		t.Error(got)
	}
	if err := os.WriteFile(mnt+"/new", []byte("outside\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := d.LXC("exec", "c1", "--", "cat", "/root/new"); got != "outside\n" {
		t.Error(got)
	}
}

func TestDebiansClientOnFilesAndConsoles(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	must := func(stdin string, args ...string) string {
		t.Helper()
		out, err := foreign(t, d, stdin, args...)
		if err != nil {
			t.Fatalf("lxc %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return out
	}
	dir := t.TempDir()
	for _, sub := range []string{"tree", "tree/deep", "back"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(dir+"/one", []byte("first\n"), 0o640), os.WriteFile(dir+"/tree/a", []byte("a\n"), 0o644),
		os.WriteFile(dir+"/tree/deep/b", []byte("b\n"), 0o600), os.Symlink("../a", dir+"/tree/deep/l")); err != nil {
		t.Fatal(err)
	}
	must("", "file", "push", dir+"/one", "c1/root/one", "--uid", "5")
	if got := d.LXC("exec", "c1", "--", "stat", "-c", "%u %g %a %s", "/root/one"); strings.TrimSpace(got) != "5 0 640 6" {
		t.Error(got)
	}
	must("", "file", "pull", "c1/root/one", dir+"/got")
	if got := read(t, dir+"/got"); got != "first\n" {
		t.Error(got)
	}
	must("", "file", "push", "-p", dir+"/one", "c1/x/y/z/one")
	must("", "file", "push", "-r", dir+"/tree", "c1/root")
	if got := d.LXC("exec", "c1", "--", "cat", "/root/tree/deep/b", "/root/tree/deep/l"); got != "b\na\n" {
		t.Error(got)
	}
	must("", "file", "pull", "-r", "c1/root/tree", dir+"/back")
	if got := read(t, dir+"/back/tree/deep/b"); got != "b\n" {
		t.Error(got)
	}
	must("from stdin\n", "file", "push", "-", "c1/root/stdin")
	if got := must("", "file", "pull", "c1/root/stdin", "-"); got != "from stdin\n" {
		t.Error(got)
	}
	must("edited\n", "file", "edit", "c1/root/one")
	if got := d.LXC("exec", "c1", "--", "cat", "/root/one"); got != "edited\n" {
		t.Error(got)
	}
	must("", "file", "delete", "c1/root/one")
	if out, err := foreign(t, d, "", "file", "pull", "c1/root/one", "-"); err == nil {
		t.Error(out)
	}
	d.LXC("exec", "c1", "--", "sh", "-c", "echo shown on the console > /dev/console")
	eventually(t, "the console's log", func() bool { return strings.Contains(must("", "console", "c1", "--show-log"), "shown on the console") })
	if out := must("", "info", "c1", "--show-log"); !strings.Contains(out, "Log:") {
		t.Error(out)
	}
}

// TestConsole types into a shell on the console.
func TestConsole(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	d.LXC("exec", "c1", "--", "sh", "-c", "echo '::respawn:-/bin/sh' >> /etc/inittab; kill -HUP 1")
	lxc := filepath.Join(os.Getenv("LXD_TEST_BIN"), "lxc")
	c := d.Command("sh", "-c", "(sleep 1; echo 'echo $((6*7)) is it'; sleep 2; printf '\\001q') | "+lxc+" console c1")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "42 is it") || !strings.Contains(string(out), "To detach") {
		t.Errorf("%v: %s", err, out)
	}
	if log := d.LXC("console", "c1", "--show-log"); !strings.Contains(log, "42 is it") {
		t.Error(log)
	}
	if out := d.LXC("info", "c1", "--show-log"); !strings.Contains(out, "Log:") {
		t.Error(out)
	}
	if code, b := d.HTTP("POST", "/1.0/instances/c1/exec", `{"command": ["sh", "-c", "echo out; echo err >&2"], "record-output": true}`); code != 202 {
		t.Fatal(code, b)
	}
	eventually(t, "recorded output", func() bool {
		_, b := d.HTTP("GET", "/1.0/instances/c1/logs/exec-output", "")
		_, after, _ := strings.Cut(b, `"/1.0/instances/c1/logs/exec-output/`)
		name, _, _ := strings.Cut(after, `"`)
		code, text := d.HTTP("GET", "/1.0/instances/c1/logs/exec-output/"+name, "")
		return code == 200 && text == "err\n"
	})
	d.LXC("stop", "-f", "c1")
	if log := d.LXC("console", "c1", "--show-log"); !strings.Contains(log, "42 is it") {
		t.Error("the log is lost when the container stops", log)
	}
}
