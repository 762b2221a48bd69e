//go:build system

package system

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lxd/test/harness"
)

// upload sends a file as an image, as a client without our code would, and returns the final answer.
func upload(t *testing.T, d *harness.Daemon, file string, header map[string]string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	req, err := http.NewRequest("POST", "http://lxd/1.0/images", f)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var env struct{ Operation string }
	if err := json.Unmarshal(b, &env); err != nil || env.Operation == "" {
		return string(b)
	}
	_, answer := d.HTTP("GET", env.Operation+"/wait", "")
	return answer
}

func TestHostileImages(t *testing.T) {
	d := ready(t)
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.MkdirAll(canary, 0o755); err != nil {
		t.Fatal(err)
	}
	meta := harness.Entry{Name: "metadata.yaml", Body: harness.Metadata}
	root := harness.Entry{Name: "rootfs/", Type: tar.TypeDir, Mode: 0o755}
	up := strings.Repeat("../", 12)
	for name, c := range map[string]struct {
		entries []harness.Entry
		want    string
		header  map[string]string
	}{
		"dot dot":           {[]harness.Entry{meta, root, {Name: "rootfs/" + up + canary + "/x", Body: "x"}}, "..", nil},
		"through a symlink": {[]harness.Entry{meta, root, {Name: "rootfs/link", Type: tar.TypeSymlink, Link: canary}, {Name: "rootfs/link/x", Body: "x"}}, "", nil},
		"hard link outside": {[]harness.Entry{meta, root, {Name: "rootfs/h", Type: tar.TypeLink, Link: up + "etc/passwd"}}, "link", nil},
		"no metadata":       {[]harness.Entry{root, {Name: "rootfs/a", Body: "a"}}, "metadata.yaml", nil},
		"giant metadata":    {[]harness.Entry{{Name: "metadata.yaml", Body: strings.Repeat("# padding\n", 200_000)}, root}, "metadata.yaml", nil},
		"broken metadata":   {[]harness.Entry{{Name: "metadata.yaml", Body: "a: [b"}, root}, "metadata.yaml", nil},
		"odd architecture":  {[]harness.Entry{{Name: "metadata.yaml", Body: "architecture: pdp11\ncreation_date: 1\n"}, root}, "pdp11", nil},
		"no date":           {[]harness.Entry{{Name: "metadata.yaml", Body: "architecture: x86_64\n"}, root}, "creation_date", nil},
		"no rootfs":         {[]harness.Entry{meta}, "rootfs", nil},
		"wrong fingerprint": {harness.Busybox(t), "fingerprint", map[string]string{"X-LXD-fingerprint": strings.Repeat("ab", 32)}},
	} {
		t.Run(name, func(t *testing.T) {
			before := d.Traces(t)
			answer := upload(t, d, harness.WriteImage(t, c.entries), c.header)
			refused := strings.Contains(answer, `"type":"error"`)
			if !refused {
				// some are refused only when they are unpacked
				fp := fingerprint(t, answer)
				out, err := d.TryLXC("init", fp, "h")
				if err == nil && c.want != "" {
					t.Errorf("accepted: %s", answer)
				}
				answer += out
				_, _ = d.TryLXC("delete", "-f", "h")
				d.LXC("image", "delete", fp)
			}
			if !strings.Contains(answer, c.want) {
				t.Errorf("the error does not say %q: %s", c.want, answer)
			}
			if left, _ := os.ReadDir(canary); len(left) != 0 {
				t.Errorf("written outside: %v", left)
			}
			if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
				t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
			}
		})
	}
}

func fingerprint(t *testing.T, answer string) string {
	t.Helper()
	var env struct {
		Metadata struct {
			Metadata struct{ Fingerprint string }
		}
	}
	if err := json.Unmarshal([]byte(answer), &env); err != nil || env.Metadata.Metadata.Fingerprint == "" {
		t.Fatalf("no fingerprint in %s", answer)
	}
	return env.Metadata.Metadata.Fingerprint
}

func TestTruncatedImages(t *testing.T) {
	d := ready(t)
	whole, err := os.ReadFile(harness.WriteImage(t, harness.Busybox(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 5, 100, len(whole) / 2, len(whole) - 9} {
		before := d.Traces(t)
		file := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		answer := upload(t, d, file, nil)
		if !strings.Contains(answer, `"type":"error"`) {
			t.Errorf("%d bytes of %d: %s", n, len(whole), answer)
		}
		if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
			t.Errorf("%d bytes: left over:\n%s", n, strings.Join(diff, "\n"))
		}
	}
}

// TestHostileRoots starts roots whose usual places point at the host.
func TestHostileRoots(t *testing.T) {
	d := ready(t)
	for _, place := range []string{"dev", "proc", "sys", "etc", "sbin/init", "run", "tmp"} {
		t.Run(place, func(t *testing.T) {
			canary := filepath.Join(t.TempDir(), "canary")
			if err := os.MkdirAll(canary, 0o777); err != nil {
				t.Fatal(err)
			}
			var entries []harness.Entry
			for _, e := range harness.Busybox(t) {
				name := strings.TrimSuffix(strings.TrimPrefix(e.Name, "rootfs/"), "/")
				if name != place && !strings.HasPrefix(name, place+"/") {
					entries = append(entries, e)
				}
			}
			entries = append(entries, harness.Entry{Name: "rootfs/" + place, Type: tar.TypeSymlink, Link: canary},
				harness.Entry{Name: "rootfs/etc-" + filepath.Base(place), Body: place})
			alias := "hostile-" + filepath.Base(place)
			before := d.Traces(t)
			d.LXC("image", "import", harness.WriteImage(t, entries), "--alias", alias)
			out, err := d.TryLXC("launch", alias, "h")
			t.Logf("launch: %v %s", err, out)
			if left, _ := os.ReadDir(canary); len(left) != 0 {
				t.Errorf("written on the host: %v", left)
			}
			if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), canary) {
				t.Error("mounted on the host")
			}
			_, _ = d.TryLXC("delete", "-f", "h")
			d.LXC("image", "delete", alias)
			if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
				t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
			}
		})
	}
}

// small is a file system of that many MiB, mounted for the test.
func small(t *testing.T, mib int) string {
	t.Helper()
	file, dir := filepath.Join(t.TempDir(), "disk"), filepath.Join(harness.Scratch(t), fmt.Sprintf("small%d", os.Getpid()))
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-m0", file}, {"mount", "-o", "loop", file, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no loop-mounted file system: %s: %v: %s", argv[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := small(t, 160)
	t.Setenv("LXD_TEST_SCRATCH", dir)
	d := ready(t)
	big := harness.WriteImage(t, append(harness.Busybox(t), harness.Entry{Name: "rootfs/big", Body: noise(40 << 20)}))
	d.LXC("launch", "busybox", "c0")
	before := d.Traces(t)

	filler := filepath.Join(dir, "filler")
	fill(t, dir, filler, 20<<20)
	answer := upload(t, d, big, nil)
	if !strings.Contains(answer, "no space") && !strings.Contains(answer, "space left") {
		t.Errorf("import: %s", answer)
	}
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over after import:\n%s", strings.Join(diff, "\n"))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.LXC("image", "import", big, "--alias", "big")
	before = d.Traces(t)
	fill(t, dir, filler, 20<<20)
	if out, err := d.TryLXC("launch", "big", "c1"); err == nil || !strings.Contains(out, "space") {
		t.Errorf("launch: %v %s", err, out)
	}
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over after launch:\n%s", strings.Join(diff, "\n"))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.LXC("exec", "c0", "--", "true")
	d.LXC("delete", "-f", "c0")
}

// fill writes a file that leaves about free bytes.
func fill(t *testing.T, dir, file string, free int64) {
	t.Helper()
	out, err := exec.Command("df", "-B1", "--output=avail", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	var avail int64
	if _, err := fmt.Sscan(strings.Fields(string(out))[1], &avail); err != nil {
		t.Fatal(err)
	}
	if avail <= free {
		return
	}
	if out, err := exec.Command("fallocate", "-l", fmt.Sprint(avail-free), file).CombinedOutput(); err != nil {
		t.Fatalf("fallocate: %v: %s", err, out)
	}
}

// noise does not compress.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return string(b)
}
