package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine makes a host out of files.
func machine(t *testing.T) host {
	t.Helper()
	root := t.TempDir()
	h := host{root: root, scratch: filepath.Join(root, "scratch"), nft: func() ([]string, error) { return []string{"table inet x"}, nil }}
	put(t, root, "proc/self/mountinfo", "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n")
	put(t, root, "sys/class/net/lo/mtu", "65536")
	put(t, root, "sys/fs/cgroup/memory/system.slice/x.service/tasks", "")
	put(t, root, "scratch/go-build1/x", "")
	return h
}

func put(t *testing.T, root, path, text string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCompareSeesEachKindOfLeak(t *testing.T) {
	for _, c := range []struct {
		kind string
		leak func(*testing.T, *host)
		want string
	}{
		{"nothing", func(*testing.T, *host) {}, ""},
		{"mount", func(t *testing.T, h *host) {
			put(t, h.root, "proc/self/mountinfo", "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n23 22 0:5 / /proc rw - proc proc rw\n")
		}, "mount /proc (proc)"},
		{"link", func(t *testing.T, h *host) { put(t, h.root, "sys/class/net/lxdbr0/mtu", "") }, "link lxdbr0"},
		{"network namespace", func(t *testing.T, h *host) { put(t, h.root, "run/netns/n1", "") }, "network namespace n1"},
		{"cgroup", func(t *testing.T, h *host) { put(t, h.root, "sys/fs/cgroup/memory/lxc.payload.c1/tasks", "") }, "cgroup /memory/lxc.payload.c1"},
		{"cgroup of the init system", func(t *testing.T, h *host) { put(t, h.root, "sys/fs/cgroup/memory/a.scope/tasks", "") }, ""},
		{"nft table", func(_ *testing.T, h *host) {
			h.nft = func() ([]string, error) { return []string{"table inet x", "table inet lxd"}, nil }
		}, "nft table table inet lxd"},
		{"process", func(t *testing.T, h *host) {
			put(t, h.root, "proc/77/cmdline", "/usr/sbin/dnsmasq\x00--conf-file=x\x00")
		}, "process 77 /usr/sbin/dnsmasq --conf-file=x"},
		{"process of another", func(t *testing.T, h *host) { put(t, h.root, "proc/78/cmdline", "sleep\x001\x00") }, ""},
		{"process in scratch", func(t *testing.T, h *host) { put(t, h.root, "proc/79/cmdline", "tail\x00"+h.scratch+"/log\x00") }, "process 79 tail"},
		{"loop device", func(t *testing.T, h *host) { put(t, h.root, "sys/block/loop3/loop/backing_file", "/disk.img\n") }, "loop device loop3 /disk.img"},
		{"file", func(t *testing.T, h *host) { put(t, h.root, "scratch/left", "") }, "file "},
	} {
		t.Run(c.kind, func(t *testing.T) {
			h := machine(t)
			path := filepath.Join(t.TempDir(), "before")
			if err := snapshot(h, path); err != nil {
				t.Fatal(err)
			}
			c.leak(t, &h)
			var out strings.Builder
			err := compare(&out, h, path, 0)
			if (err != nil) != (c.want != "") || !strings.Contains(out.String(), c.want) {
				t.Errorf("error %v, output %q, want %q", err, out.String(), c.want)
			}
		})
	}
}

func TestExeNamesTheProgram(t *testing.T) {
	h := machine(t)
	put(t, h.root, "proc/80/cmdline", "[c1]\x00")
	if err := os.Symlink("/opt/lxd/bin/lxd-lxc (deleted)", filepath.Join(h.root, "proc/80/exe")); err != nil {
		t.Fatal(err)
	}
	got, err := h.processes()
	if err != nil || !slices.Equal(got, []string{"80 [c1]"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheRealHost(t *testing.T) {
	h := host{root: "/", nft: func() ([]string, error) { return nil, nil }}
	found, err := h.look()
	if err != nil {
		t.Fatal(err)
	}
	if len(found["mount"]) == 0 || !slices.Contains(found["link"], "lo") {
		t.Errorf("no mounts or no loopback in %v", found)
	}
}
