package dir_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

func owner(t testing.TB, path string) (uid uint32, mode uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid, st.Mode
}

func TestLayerOwners(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	b.clone(t, image(), instance("c1"))
	m := b.mounted(t, instance("c1"))
	if !m.Shifted {
		t.Error("the owners of a layer are the host's")
	}
	if there, err := mount.At(m.Root); err != nil || !there {
		t.Fatalf("not an overlay: %v, %v", there, err)
	}
	for path, want := range map[string][2]uint32{
		"": {1000000, unix.S_IFDIR | 0o751}, "usr/ping": {1000000, unix.S_IFREG | unix.S_ISUID | 0o755}, "usr/mine": {1001000, unix.S_IFREG | 0o644},
	} {
		if uid, mode := owner(t, filepath.Join(m.Root, path)); uid != want[0] || mode != want[1] {
			t.Errorf("%q belongs to %d with mode %o, want %d and %o", path, uid, mode, want[0], want[1])
		}
	}
	if uid, _ := owner(t, filepath.Join(b.dir, "images/i/rootfs/usr/ping")); uid != 0 {
		t.Errorf("the image's file belongs to %d", uid)
	}
}

// TestNobodyElseReachesFiles: set-user-id files of images and instances are out of reach of the host's users, but not of the instance.
func TestNobodyElseReachesFiles(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	plain := instance("plain")
	plain.Plain = true
	for _, v := range []storage.Volume{instance("layer"), plain} {
		b.clone(t, image(), v)
		b.mounted(t, v)
	}
	if err := b.Create(t.Context(), instance("filled"), small); err != nil {
		t.Fatal(err)
	}
	b.mounted(t, instance("filled"))
	for path, reach := range map[string]map[int]bool{
		"images/i/rootfs/usr/ping":          {1000: false, 1000000: false, 1001000: false},
		"containers/layer/rootfs/usr/ping":  {1000: false, 1000000: true, 1001000: false},
		"containers/plain/rootfs/usr/ping":  {1000: false, 1000000: true, 1001000: false},
		"containers/filled/rootfs/usr/mine": {1000: false, 1000000: true, 1001000: false},
		"containers/layer/upper":            {1000: false, 1001000: false},
		".trash":                            {1000000: true, 1000: true},
		".tmp/x":                            {1000000: false, 1000: false},
	} {
		for uid, want := range reach {
			if got := reaches(t, uid, filepath.Join(b.dir, path)); got != want {
				t.Errorf("user %d reaches %s: %v, want %v", uid, path, got, want)
			}
		}
	}
	for _, v := range []storage.Volume{instance("layer"), plain} {
		if uid, mode := owner(t, filepath.Join(b.dir, "containers", v.Name)); uid != 1000000 || mode != unix.S_IFDIR|0o100 {
			t.Errorf("folder of %s belongs to %d with mode %o", v.Name, uid, mode)
		}
	}
}

// reaches tells whether a user of the host finds path.
func reaches(t *testing.T, uid int, path string) bool {
	t.Helper()
	_, err := asUser(uid, "test -e "+path)
	return err == nil
}

func TestChangeOfMapMovesTheLayerOnly(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	b.clone(t, image(), v)
	root := b.mounted(t, v).Root
	if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "new"), 1000005, 1000005); err != nil {
		t.Fatal(err)
	}
	for _, host := range []int64{1065536, 1065600, 0, 1000000} {
		b.unmount(t, v)
		v.IDMap = nil
		if host != 0 {
			v.IDMap = []storage.IDRange{{Host: host, Size: 65536}}
		}
		root := b.mounted(t, v).Root
		for path, inside := range map[string]int64{"new": 5, "usr/mine": 1000, "usr/ping": 0, "": 0} {
			if uid, _ := owner(t, filepath.Join(root, path)); int64(uid) != host+inside {
				t.Errorf("%q belongs to %d, want %d", path, uid, host+inside)
			}
		}
		if uid, _ := owner(t, filepath.Join(b.dir, "images/i/rootfs/usr/mine")); uid != 1000 {
			t.Errorf("the image's file belongs to %d", uid)
		}
		if uid, _ := owner(t, filepath.Join(b.dir, "containers/c1")); int64(uid) != host {
			t.Errorf("the volume's folder belongs to %d, want %d", uid, host)
		}
	}
}

// TestFilledVolumesKeepTheirOwners: what was written with the owners inside stays so, for a machine that maps its root itself.
func TestFilledVolumesKeepTheirOwners(t *testing.T) {
	b := newBed(t, "")
	v := instance("c1")
	if err := b.Create(t.Context(), v, small); err != nil {
		t.Fatal(err)
	}
	m := b.mounted(t, v)
	if uid, _ := owner(t, filepath.Join(m.Root, "usr/mine")); uid != 1000 || m.Shifted {
		t.Errorf("owner %d, shifted %v", uid, m.Shifted)
	}
	v.Plain = true // nesting needs the host's owners on disk
	m = b.mounted(t, v)
	if uid, mode := owner(t, filepath.Join(m.Root, "usr/ping")); uid != 1000000 || mode&unix.S_ISUID == 0 || !m.Shifted {
		t.Errorf("owner %d, mode %o, shifted %v", uid, mode, m.Shifted)
	}
}

func TestPlainCopyKeepsOwnersAndLinks(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	v.Plain = true
	b.clone(t, image(), v)
	m := b.mounted(t, v)
	if there, _ := mount.At(m.Root); there || !m.Shifted {
		t.Errorf("mounted %v, shifted %v", there, m.Shifted)
	}
	if uid, mode := owner(t, filepath.Join(m.Root, "usr/ping")); uid != 1000000 || mode&unix.S_ISUID == 0 {
		t.Errorf("owner %d, mode %o", uid, mode)
	}
	var one, two unix.Stat_t
	unix.Lstat(filepath.Join(m.Root, "usr/share/doc/a"), &one)
	unix.Lstat(filepath.Join(m.Root, "usr/share/doc/b"), &two)
	if one.Ino != two.Ino || one.Nlink != 2 {
		t.Error("hard links became copies")
	}
}

// TestPackageManagers does inside of a layer what package managers and administrators do, all of which must work as on one file system.
func TestPackageManagers(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), debian(t)); err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	b.clone(t, image(), v)
	root := b.mounted(t, v).Root
	for _, c := range []struct{ name, script, want string }{
		{"move a folder of the image", `perl -e 'rename "/usr/share/doc", "/usr/share/doc2" or die $!'; test -d /usr/share/doc2/apt; test ! -e /usr/share/doc; mv /usr/share/doc2 /usr/share/doc`, ""},
		{"move it over an empty one", `mkdir /opt/e; mv -T /usr/share/common-licenses /opt/e; ls /opt/e/GPL-3`, "GPL-3"},
		{"make it anew", `mkdir /usr/share/common-licenses; ls -A /usr/share/common-licenses | wc -l`, "0"},
		{"delete a folder of the image", `rm -r /usr/share/zoneinfo; test ! -e /usr/share/zoneinfo; mkdir /usr/share/zoneinfo; ls -A /usr/share/zoneinfo | wc -l`, "0"},
		{"hard link to a file of the image", `ln /etc/hostname /etc/hostname2 2>/dev/null || { echo h >/etc/hostname; ln /etc/hostname /etc/hostname2; }; stat -c %h /etc/hostname`, "2"},
		{"change all owners", `chown -R 7:8 /usr/share/perl5 /usr/lib/apt; stat -c %u:%g /usr/lib/apt/methods`, "7:8"},
		{"change all modes", `chmod -R g+w /usr/lib/apt; stat -c %A /usr/lib/apt/methods`, "drwxrwxr-x"},
		{"set-user-id survives a change of the file", `chmod u+s /bin/ls; stat -c %a /bin/ls`, "4755"},
		{"append and truncate", `echo x >>/etc/passwd; tail -1 /etc/passwd; : >/etc/motd; stat -c %s /etc/motd`, "x\n0"},
		{"replace a program", `cp /bin/true /bin/true.new; mv /bin/true.new /bin/true; /bin/true; echo ok`, "ok"},
		{"nodes are not made", `mknod /dev/x c 1 1 2>/dev/null && echo made || echo refused`, "refused"},
		{"whiteouts are not forged", `mknod /opt/w c 0 0 2>/dev/null || true; rm -f /opt/w; echo ok`, "ok"},
		{"locks and temporary files", `perl -e 'use Fcntl ":flock"; open F, ">>", "/var/lib/dpkg/lock" or die; flock(F, LOCK_EX) or die; print "ok"'`, "ok"},
		{"build a package", `mkdir -p /tmp/p/DEBIAN /tmp/p/usr/share/own /tmp/p/etc; echo x >/tmp/p/usr/share/own/f; echo conf >/tmp/p/etc/own.conf; echo /etc/own.conf >/tmp/p/DEBIAN/conffiles
printf 'Package: own\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <n@example.org>\nDescription: test\n' >/tmp/p/DEBIAN/control
chmod 755 /tmp/p/DEBIAN; dpkg-deb -b /tmp/p /tmp/own.deb >/dev/null; echo ok`, "ok"},
		{"install it", `dpkg -i /tmp/own.deb >/dev/null; dpkg -s own | grep ^Status`, "Status: install ok installed"},
		{"remove it", `dpkg --purge own >/dev/null 2>&1; test ! -e /usr/share/own; echo ok`, "ok"},
		{"apt installs a file", `apt-get -o APT::Sandbox::User=root install -y /tmp/own.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }; cat /usr/share/own/f`, "x"},
		{"apt removes a package of the image", `apt-get -o APT::Sandbox::User=root remove -y --allow-remove-essential own >/dev/null 2>&1; dpkg --force-all -r tzdata >/dev/null 2>&1; dpkg -l | grep -c '^ii' | grep -q . && echo ok`, "ok"},
		{"reinstall what the image has", `dpkg --verify base-files >/dev/null || true; dpkg-reconfigure -f noninteractive base-passwd && echo ok`, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.TrimSpace(inside(t, root, c.script)); c.want != "" && !strings.HasSuffix(got, c.want) {
				t.Errorf("printed %q, want %q", got, c.want)
			}
		})
	}
	b.unmount(t, v)
	root = b.mounted(t, v).Root
	inside(t, root, `test -e /opt/e/GPL-3; test ! -e /usr/share/common-licenses/GPL-3; test "$(tail -1 /etc/passwd)" = x; test ! -e /usr/share/zoneinfo/UTC`)
	v2 := instance("c2")
	b.clone(t, v, v2)
	inside(t, b.mounted(t, v2).Root, `test -e /opt/e/GPL-3; test ! -e /usr/share/common-licenses/GPL-3; test "$(stat -c %u:%g /usr/lib/apt/methods)" = 7:8`)
	b.unmount(t, v2)
	v2.Plain = true
	inside(t, b.mounted(t, v2).Root, `test -e /opt/e/GPL-3; test ! -e /usr/share/common-licenses/GPL-3; test "$(stat -c %a /bin/ls)" = 4755; dpkg --audit`)
}

// TestCapabilities: capabilities of files in the image count inside, and can be set there.
func TestCapabilities(t *testing.T) {
	b := newBed(t, "")
	raw := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	err := b.Create(t.Context(), image(), func(ctx context.Context, root string) error {
		if err := small(ctx, root); err != nil {
			return err
		}
		return unix.Setxattr(filepath.Join(root, "rootfs/usr/ping"), "security.capability", []byte(raw), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	plain := instance("plain")
	plain.Plain = true
	for _, v := range []storage.Volume{instance("layer"), plain} {
		b.clone(t, image(), v)
		ping := filepath.Join(b.mounted(t, v).Root, "usr/ping")
		buf := make([]byte, 64)
		n, err := unix.Getxattr(ping, "security.capability", buf)
		if err != nil || n != 24 || string(buf[20:24]) != "\x40\x42\x0f\x00" {
			t.Errorf("%s: capability %x, %v; want one of user 1000000", v.Name, buf[:max(n, 0)], err)
		}
	}
}
