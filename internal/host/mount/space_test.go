package mount_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
)

// guest is a process with a user and a mount namespace of its own, in which it has all rights.
type guest struct {
	pid int
	ns  *os.File
}

func newGuest(t *testing.T) guest {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	cmd := exec.Command("sleep", "1000")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1000000, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{},
	}
	if err := cmd.Start(); err != nil {
		t.Skip("needs user namespaces: ", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return guest{cmd.Process.Pid, ns}
}

// hold takes hold of a path as the guest sees it.
func (g guest) hold(t *testing.T, path string) *os.File {
	t.Helper()
	name := fmt.Sprintf("/proc/%d/root%s", g.pid, path)
	fd, err := unix.Open(name, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	return f
}

// run runs a shell script with the guest's rights.
func (g guest) run(t *testing.T, script string) error {
	t.Helper()
	args := []string{"--target", fmt.Sprint(g.pid), "--user", "--mount", "--setuid", "0", "--setgid", "0", "sh", "-c", script}
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// show makes a tree of a folder and shows it in the guest.
func (g guest) show(t *testing.T, l *mount.Locker, from, to string, attributes uint64) *mount.Tree {
	t.Helper()
	tree, err := mount.Open(from, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tree.Propagate(unix.MS_PRIVATE, true), tree.Restrict(attributes)); err != nil {
		t.Fatal(err)
	}
	if tree, err = l.Lock(tree); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	if err := tree.Into(g.ns, g.hold(t, to)); err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestGuestCannotChangeWhatItIsHanded(t *testing.T) {
	at := folders(t, "from/sub", "to", "shown")
	g := newGuest(t)
	var l mount.Locker
	defer l.Close()
	if err := errors.Join(mount.Bind(at("to"), at("from/sub")), os.Chmod(at(""), 0o755), os.Chmod(at("from"), 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("file"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again with the same namespaces
		folder, file := g.hold(t, at("shown")), g.hold(t, at("to"))
		tree := g.show(t, &l, at("from"), at("shown"), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID)
		mounted(t, at("shown"), false) // the host does not see it
		for _, script := range []string{
			"test -d %[1]s/sub && touch %[1]s/new", "mount -o remount,bind,rw,nosuid %[1]s", "mount -o remount,bind,ro,suid %[1]s", "umount %[1]s/sub",
		} {
			if err := g.run(t, fmt.Sprintf(script, "'"+at("shown")+"'")); err == nil {
				t.Errorf("the guest can: %s", script)
			}
		}
		top := g.hold(t, at("shown"))
		id, is, err := mount.ID(top)
		if want, e := tree.ID(); err != nil || e != nil || !is || id != want {
			t.Error("the mount has another number:", id, want, is, err, e)
		}
		if err := mount.Drop(g.ns, top); err != nil {
			t.Fatal(err)
		}
		if err := g.run(t, fmt.Sprintf("test ! -e '%s/sub'", at("shown"))); err != nil {
			t.Error("it is not dropped:", err)
		}
		if err := mount.Drop(g.ns, folder); err == nil {
			t.Error("a folder is no mount")
		}
		_ = file
	}
	all, err := mount.Below(at(""))
	if err != nil || len(all) != 1 {
		t.Errorf("the host sees %v %v", all, err)
	}
}

// What holds the hand-over namespaces must not keep the host from unmounting.
func TestLockerHoldsNothing(t *testing.T) {
	at := folders(t, "m", "shown")
	g := newGuest(t)
	tree, err := mount.Filesystem("tmpfs", "held", []string{"size=1M", "mode=777"})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Attach(at("m")); err != nil {
		t.Fatal(err)
	}
	var l mount.Locker
	defer l.Close()
	g.show(t, &l, "/usr", at("shown"), unix.MOUNT_ATTR_RDONLY)
	kept, err := filepath.Glob("/proc/self/task/*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range kept {
		b, err := os.ReadFile(path)
		if err == nil && strings.Count(string(b), "\n") < 2 {
			t.Errorf("a thread is left in a namespace of the locker: %s", b)
		}
	}
}

func TestFileAndMap(t *testing.T) {
	at := folders(t, "shown")
	g := newGuest(t)
	for _, name := range []string{"from", "to"} {
		if err := os.WriteFile(at(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at(""), 0o755); err != nil {
		t.Fatal(err)
	}
	var l mount.Locker
	defer l.Close()
	var users idmap.Namespaces
	defer users.Close()
	user, err := users.Get(idmap.Map{{Host: 1000000, Inside: 0, Size: 65536}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mount.OpenFile(g.hold(t, at("from")), false); err == nil {
		t.Fatal("a file of another namespace is cloned")
	}
	f, err := os.Open(at("from"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := mount.OpenFile(f, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tree.Private(), tree.MapAll(user)); err != nil {
		t.Skip("needs a file system that can map ids: ", err)
	}
	if tree, err = l.Lock(tree); err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Into(g.ns, g.hold(t, at("to"))); err != nil {
		t.Fatal(err)
	}
	if err := g.run(t, fmt.Sprintf("echo guest > '%[1]s' && test \"$(stat -c %%u '%[1]s')\" = 0", at("to"))); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"from": "guest\n", "to": "to"} {
		if b, err := os.ReadFile(at(name)); string(b) != want || err != nil {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}
