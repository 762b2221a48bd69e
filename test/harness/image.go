package harness

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Entry is one entry of an image under construction.
type Entry struct {
	Name, Body, Link string
	Mode             int64
	Type             byte
}

// Metadata is a metadata.yaml that is accepted.
const Metadata = "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: busybox\n  release: test\n  description: busybox for tests\n"

// Busybox lists a unified image whose root is busybox with a small init.
func Busybox(t testing.TB) []Entry {
	t.Helper()
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox of the package busybox-static")
	}
	all := []Entry{{Name: "metadata.yaml", Body: Metadata}, {Name: "rootfs/", Type: tar.TypeDir, Mode: 0o755}}
	for _, d := range []string{"bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp", "run", "var", "usr", "usr/bin", "usr/share", "usr/share/udhcpc"} {
		all = append(all, Entry{Name: "rootfs/" + d + "/", Type: tar.TypeDir, Mode: 0o755})
	}
	all = append(all, Entry{Name: "rootfs/bin/busybox", Body: string(b), Mode: 0o755})
	for _, n := range []string{"sh", "true", "false", "cat", "sleep", "ls", "id", "env", "pwd", "stty", "tty", "echo", "hostname", "ip", "ping", "nslookup",
		"touch", "rm", "mkdir", "mount", "kill", "ps", "dd", "wc", "head", "ln", "mv", "chown", "stat", "grep", "wget", "nc", "udhcpc"} {
		all = append(all, Entry{Name: "rootfs/bin/" + n, Type: tar.TypeSymlink, Link: "/bin/busybox"})
	}
	for _, n := range []string{"init", "poweroff", "reboot"} {
		all = append(all, Entry{Name: "rootfs/sbin/" + n, Type: tar.TypeSymlink, Link: "/bin/busybox"})
	}
	return append(all,
		Entry{Name: "rootfs/etc/passwd", Body: "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n"},
		Entry{Name: "rootfs/etc/group", Body: "root:x:0:\nuser:x:1000:\n"},
		Entry{Name: "rootfs/etc/inittab", Body: "::sysinit:/bin/sh /etc/rc\n::respawn:/bin/sleep 1000000\n::ctrlaltdel:/sbin/reboot\n"},
		Entry{Name: "rootfs/etc/rc", Mode: 0o755, Body: "#!/bin/sh\nip link set lo up\nudhcpc -b -q -i eth0 -s /usr/share/udhcpc/default.script -x hostname:$(hostname) >/dev/null 2>&1 &\n"},
		Entry{Name: "rootfs/usr/share/udhcpc/default.script", Mode: 0o755, Body: "#!/bin/sh\n" +
			"[ \"$1\" = bound -o \"$1\" = renew ] || exit 0\nip addr add $ip/$mask dev $interface\nip link set $interface up\n" +
			"ip route add default via $router\necho nameserver $dns > /etc/resolv.conf\n"},
	)
}

// WriteImage writes the entries as a gzipped tarball and returns its path.
func WriteImage(t testing.TB, entries []Entry) string {
	t.Helper()
	b, err := Tarball(entries)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar.gz")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Tarball is the entries as a gzipped tarball.
func Tarball(entries []Entry) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, e := range entries {
		if err := w.WriteHeader(e.header()); err != nil {
			return nil, err
		}
		if e.header().Size > 0 {
			if _, err := w.Write([]byte(e.Body)); err != nil {
				return nil, err
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (e Entry) header() *tar.Header {
	h := &tar.Header{Name: e.Name, Mode: e.Mode, Typeflag: e.Type, Linkname: e.Link, Size: int64(len(e.Body))}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Typeflag != tar.TypeReg {
		h.Size = 0
	}
	return h
}
