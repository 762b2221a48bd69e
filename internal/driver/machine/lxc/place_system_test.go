//go:build system

package lxc_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/host/mount"
	"lxd/internal/machine"
)

// shared is a folder of the host with a file in it, open to all.
func shared(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(folder(t), "shared")
	must(t, os.Mkdir(dir, 0o777))
	must(t, os.Chmod(dir, 0o777))
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("host\n"), 0o666))
	return dir
}

func mounter(t *testing.T, m machine.Machine) machine.Mounter {
	t.Helper()
	p, ok := m.(machine.Mounter)
	if !ok {
		t.Fatal("no Mounter")
	}
	return p
}

// TestGuestKeepsMountsAsTheyAre: what is read-only stays so, also what was there from the start.
func TestGuestKeepsMountsAsTheyAre(t *testing.T) {
	p := plan(t)
	early := machine.Mount{Source: shared(t), Target: "/early", ReadOnly: true}
	late := machine.Mount{Source: shared(t), Target: "/late", ReadOnly: true, Options: []string{"noexec"}}
	p.Mounts = []machine.Mount{early}
	m := start(t, driver(t), p)
	must(t, mounter(t, m).Mount(t.Context(), late))
	for _, script := range []string{
		"touch %s/x", "mount -o remount,bind,rw %[1]s; touch %[1]s/x", "mount -o remount,bind,ro,exec /late",
	} {
		for _, at := range []string{"/early", "/late"} {
			if strings.Contains(script, "%") {
				script = fmt.Sprintf(script, at)
			}
			if out, code := inside(t, m, 0, script); code == 0 {
				t.Errorf("the guest can: %s: %s", script, out)
			}
		}
	}
	if out, code := inside(t, m, 0, "mount -t tmpfs x /late; umount /early; grep -c -e ' /late ' -e ' /early ' /proc/self/mountinfo"); out != "2\n" || code != 0 {
		t.Error(out, code)
	}
	// what the guest covers or takes away is no obstacle
	must(t, errors.Join(mounter(t, m).Unmount(t.Context(), early), mounter(t, m).Unmount(t.Context(), late)))
	if left, err := os.ReadDir(filepath.Join(p.RunDir, "mounts")); len(left) > 0 {
		t.Error(left, err)
	}
}

func TestShiftedMount(t *testing.T) {
	m := start(t, driver(t), plan(t))
	plain, shifted := machine.Mount{Source: shared(t), Target: "/plain"}, machine.Mount{Source: shared(t), Target: "/shifted", Shifted: true}
	must(t, errors.Join(mounter(t, m).Mount(t.Context(), plain), mounter(t, m).Mount(t.Context(), shifted)))
	if out, _ := inside(t, m, 0, "ls -ln /plain/f | grep -c ' 65534 *65534 '; ls -ln /shifted/f | grep -c ' 0 *0 '; touch /shifted/new"); out != "1\n1\n" {
		t.Error(out)
	}
	if st, err := os.Stat(filepath.Join(shifted.Source, "new")); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("on the host it is not root's", err)
	}
}

func TestFileSystems(t *testing.T) {
	m := start(t, driver(t), plan(t))
	p := mounter(t, m)
	must(t, p.Mount(t.Context(), machine.Mount{Source: "scratch", Target: "/scratch", FSType: "tmpfs", Options: []string{"size=1M", "mode=777", "nosuid"}}))
	if out, code := inside(t, m, 0, "grep ' /scratch ' /proc/self/mountinfo | grep -c 'nosuid.*size=1024k' && echo x >/scratch/x"); code != 0 {
		t.Error(out)
	}
	must(t, p.Unmount(t.Context(), machine.Mount{Target: "/scratch"}))
	image := filepath.Join(folder(t), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 4<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skip("needs mkfs.ext4, of e2fsprogs: ", string(out), err)
	}
	loop, err := exec.Command("losetup", "-f", "--show", image).Output()
	if err != nil {
		t.Skip("needs loop devices: ", err)
	}
	device := strings.TrimSpace(string(loop))
	t.Cleanup(func() {
		for range 100 { // the mount goes a moment after the machine
			if exec.Command("losetup", "-d", device).Run() == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	must(t, p.Mount(t.Context(), machine.Mount{Source: device, Target: "/disk", FSType: "auto"}))
	if out, code := inside(t, m, 0, "ls -d /disk/lost+found"); code != 0 {
		t.Error(out)
	}
	must(t, p.Unmount(t.Context(), machine.Mount{Target: "/disk"}))
	must(t, os.WriteFile(image, make([]byte, 4<<20), 0o600))
	if err := p.Mount(t.Context(), machine.Mount{Source: device, Target: "/disk", FSType: "auto"}); !errs.Is(err, errs.Invalid) {
		t.Error("mounted what has no file system:", err)
	}
}

// TestPropagation: what the host mounts below a slave appears inside, and nothing that the guest mounts outside.
func TestPropagation(t *testing.T) {
	m := start(t, driver(t), plan(t))
	source := shared(t)
	must(t, os.Mkdir(filepath.Join(source, "sub"), 0o755))
	must(t, os.Mkdir(filepath.Join(source, "own"), 0o777))
	top, err := mount.Open(source, false)
	must(t, err)
	defer top.Close()
	must(t, errors.Join(top.Propagate(0x100000, false), top.Attach(source))) // shared
	t.Cleanup(func() { must(t, mount.UnmountBelow(source)) })
	for _, c := range []struct {
		kind string
		seen int
	}{{"", 0}, {"private", 0}, {"slave", 1}, {"rslave", 1}, {"shared", 1}} {
		at := "/p" + c.kind
		must(t, mounter(t, m).Mount(t.Context(), machine.Mount{Source: source, Target: at, Propagation: c.kind}))
		must(t, mount.Bind("/usr", filepath.Join(source, "sub")))
		out, _ := inside(t, m, 0, "test -d "+at+"/sub/bin && echo seen; mount -t tmpfs x "+at+"/own 2>/dev/null")
		if (out == "seen\n") != (c.seen == 1) {
			t.Errorf("%q: %q", c.kind, out)
		}
		if there, err := mount.At(filepath.Join(source, "own")); there || err != nil {
			t.Errorf("%q: the guest mounts on the host: %v", c.kind, err)
		}
		must(t, mount.Unmount(filepath.Join(source, "sub")))
		must(t, mounter(t, m).Unmount(t.Context(), machine.Mount{Target: at}))
	}
	if err := mounter(t, m).Mount(t.Context(), machine.Mount{Source: source, Target: "/x", Propagation: "odd"}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

// TestNodeRule: a container may use the devices of its nodes while it has them.
func TestNodeRule(t *testing.T) {
	const loop = 237 // the number of /dev/loop-control
	p := plan(t)
	m := start(t, driver(t), p)
	a, b := machine.Node{Path: "/dev/a", Major: 10, Minor: loop, Mode: 0o666}, machine.Node{Path: "/dev/b", Major: 10, Minor: loop, Mode: 0o600, UID: 7, GID: 8}
	must(t, errors.Join(mounter(t, m).AddNode(t.Context(), a), mounter(t, m).AddNode(t.Context(), b)))
	if st, err := os.Stat(filepath.Join(p.RunDir, "nodes")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("users of the host get at the nodes, whose modes are meant for the instance: %v, %v", st, err)
	}
	if out, _ := inside(t, m, 0, "ls -ln /dev/b | grep -c 'crw------.* 7 *8 '"); out != "1\n" {
		t.Error(out)
	}
	can := func(path string, want bool) {
		t.Helper()
		if out, code := inside(t, m, 0, "exec 3<"+path); (code == 0) != want {
			t.Errorf("%s: %s", path, out)
		}
	}
	can("/dev/a", true)
	// one that the guest keeps under another name is of no use any more when the device is gone
	if out, code := inside(t, m, 0, "touch /dev/kept && mount -o bind /dev/a /dev/kept"); code != 0 {
		t.Fatal(out)
	}
	must(t, mounter(t, m).RemoveNode(t.Context(), a))
	can("/dev/b", true)
	must(t, mounter(t, m).RemoveNode(t.Context(), b))
	can("/dev/kept", false)
	if out, _ := inside(t, m, 0, "ls /dev/a /dev/b 2>/dev/null"); out != "" {
		t.Error("left over:", out)
	}
	if err := mounter(t, m).AddNode(t.Context(), machine.Node{Path: "/dev/a", Major: 10, Minor: loop, UID: 1 << 31}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

// TestPlacesLeadNowhere: links of the guest lead a mount to a place of its own, or nowhere.
func TestPlacesLeadNowhere(t *testing.T) {
	m := start(t, driver(t), plan(t))
	victim := shared(t)
	source := machine.Mount{Source: shared(t)}
	inside(t, m, 0, "mkdir -p /r"+victim+"; ln -s "+strings.Repeat("../", 30)+victim[1:]+" /a; ln -s /proc/1/root"+victim+" /b; ln -s /proc/self/fd /c; ln -s /loop /loop; echo >/file; ln -s /r/deep /d")
	for _, target := range []string{"/a", "/b", "/c/0", "/loop", "/a/new", "/file", "/file/x", "/proc/new", "/sys/new", "/", "..", "/d/new"} {
		source.Target = target
		err := mounter(t, m).Mount(t.Context(), source)
		if err == nil {
			must(t, mounter(t, m).Unmount(t.Context(), source))
		}
		list, e := os.ReadDir(victim)
		if there, e2 := mount.At(victim); len(list) != 1 || e != nil || there || e2 != nil {
			t.Fatalf("%s: the host is touched: %v %v %v %v", target, list, e, there, e2)
		}
	}
	out, _ := inside(t, m, 0, "cat /proc/self/mountinfo")
	if strings.Contains(out, filepath.Base(filepath.Dir(source.Source))) {
		t.Error("left over:", out)
	}
}
