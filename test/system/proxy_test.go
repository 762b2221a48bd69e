//go:build system

package system

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/host/run"
	"lxd/test/harness"
)

// inside calls fn in the network namespace of a process; 0 is that of the daemon.
func inside(t *testing.T, d *harness.Daemon, pid int, fn func() error) {
	t.Helper()
	path := "/run/netns/" + d.Netns
	if pid != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", pid)
	}
	ns, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := run.In(ns, fn); err != nil {
		t.Fatal(err)
	}
}

// echo answers every connection with a greeting and what it gets, until the test ends.
func echo(t *testing.T, d *harness.Daemon, pid int, network, addr string) {
	t.Helper()
	var l net.Listener
	inside(t, d, pid, func() (err error) {
		l, err = net.Listen(network, addr)
		return err
	})
	t.Cleanup(func() { l.Close() })
	if network == "unix" && addr[0] == '/' {
		if err := os.Chmod(addr, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintf(c, "hello from %s\n", addr)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// reach connects from a namespace.
func reach(t *testing.T, d *harness.Daemon, pid int, network, addr string) (c net.Conn) {
	t.Helper()
	inside(t, d, pid, func() (err error) {
		c, err = net.DialTimeout(network, addr, 5*time.Second)
		return err
	})
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// greeted reads the greeting, and then what comes back.
func greeted(t *testing.T, c net.Conn, want string) {
	t.Helper()
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, want) {
		t.Fatalf("greeting %q, %v", line, err)
	}
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "ping\n" {
		t.Fatalf("echo %q, %v", line, err)
	}
}

// relays counts the relay processes of the daemon.
func relays(t *testing.T, d *harness.Daemon) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "\x00relay\x00"+d.Dir) {
			n++
		}
	}
	return n
}

func TestProxyFromTheHost(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	pid := int(state(t, d, "c1").Pid)
	echo(t, d, pid, "tcp", "127.0.0.1:7")
	echo(t, d, pid, "tcp", "127.0.0.1:9")
	d.LXC("config", "device", "add", "c1", "one", "proxy", "listen=tcp:127.0.0.1:8007,8009", "connect=tcp:127.0.0.1:7,9")
	greeted(t, reach(t, d, 0, "tcp", "127.0.0.1:8007"), ":7")
	kept := reach(t, d, 0, "tcp", "127.0.0.1:8009")
	greeted(t, kept, ":9")

	// Connections outlive the daemon, and a restarted one finds what carries them.
	d.Kill()
	if _, err := io.WriteString(kept, "still\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(kept).ReadString('\n'); err != nil || line != "still\n" {
		t.Fatalf("after the daemon's end: %q, %v", line, err)
	}
	d.Start()
	if n := relays(t, d); n != 1 {
		t.Errorf("%d relays", n)
	}
	greeted(t, reach(t, d, 0, "tcp", "127.0.0.1:8007"), ":7")

	// A change takes effect at once, one that cannot be is refused and nothing is lost.
	if out, err := d.TryLXC("config", "device", "set", "c1", "one", "listen=tcp:127.0.0.1:8007-8009"); err == nil || !strings.Contains(out, "ports") {
		t.Error(out, err)
	}
	d.LXC("config", "device", "set", "c1", "one", "listen=tcp:127.0.0.1:8010", "connect=tcp:127.0.0.1:9")
	greeted(t, reach(t, d, 0, "tcp", "127.0.0.1:8010"), ":9")
	out, err := d.TryLXC("config", "device", "add", "c1", "two", "proxy", "listen=tcp:127.0.0.1:8010", "connect=tcp:127.0.0.1:9")
	if err == nil || !strings.Contains(out, "in use") || strings.Contains(d.LXC("config", "device", "list", "c1"), "two") {
		t.Error("an address was taken twice:", out)
	}
	d.LXC("stop", "-f", "c1")
	if n := relays(t, d); n != 0 {
		t.Errorf("%d relays are left", n)
	}
	d.LXC("start", "c1")
	if n := relays(t, d); n != 1 {
		t.Errorf("%d relays after a start", n)
	}
	d.LXC("delete", "-f", "c1")
	if left, _ := os.ReadDir(filepath.Join(d.Dir, "relays")); len(left) > 0 {
		t.Error("files are left", left)
	}
}

func TestProxyFromTheInstance(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	pid := int(state(t, d, "c1").Pid)
	echo(t, d, 0, "tcp", "127.0.0.1:7007")
	d.LXC("config", "device", "add", "c1", "out", "proxy", "bind=instance", "listen=tcp:127.0.0.1:80", "connect=tcp:127.0.0.1:7007")
	greeted(t, reach(t, d, pid, "tcp", "127.0.0.1:80"), ":7007")
	d.LXC("config", "device", "add", "c1", "sock", "proxy", "bind=instance", "listen=unix:/tmp/in.sock", "connect=tcp:127.0.0.1:7007", "uid=5", "gid=6", "mode=0600")
	if out := d.LXC("exec", "c1", "--", "stat", "-c", "%u %g %a", "/tmp/in.sock"); strings.TrimSpace(out) != "5 6 600" {
		t.Error(out)
	}
	greeted(t, reach(t, d, pid, "unix", fmt.Sprintf("/proc/%d/root/tmp/in.sock", pid)), ":7007")
	d.LXC("config", "device", "remove", "c1", "out")
	inside(t, d, pid, func() error {
		if c, err := net.Dial("tcp", "127.0.0.1:80"); err == nil {
			c.Close()
			t.Error("it still listens")
		}
		return nil
	})
}

func TestProxyOfSockets(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	pid := int(state(t, d, "c1").Pid)
	root := fmt.Sprintf("/proc/%d/root", pid)
	echo(t, d, pid, "unix", root+"/tmp/s.sock")
	path := filepath.Join(filepath.Dir(d.Dir), "front.sock")
	d.LXC("config", "device", "add", "c1", "s", "proxy", "listen=unix:"+path, "connect=unix:/tmp/s.sock", "mode=0606", "uid=7")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o777 != 0o606 || st.Uid != 7 {
		t.Errorf("%+v %v", st, err)
	}
	greeted(t, reach(t, d, 0, "unix", path), "s.sock")

	// A guest that bends the path to a socket of the host reaches nothing there.
	secret := filepath.Join(filepath.Dir(d.Dir), "host.sock")
	echo(t, d, 0, "unix", secret)
	d.LXC("exec", "c1", "--", "sh", "-c", "rm /tmp/s.sock; ln -s "+secret+" /tmp/s.sock; ln -s /proc/1/root/.. /tmp/up")
	c := reach(t, d, 0, "unix", path)
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("reached a socket of the host: %q %v", b, err)
	}
	d.LXC("config", "device", "remove", "c1", "s")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left")
	}
	// A file that is in the way stays.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := d.TryLXC("config", "device", "add", "c1", "s", "proxy", "listen=unix:"+path, "connect=unix:/tmp/s.sock"); err == nil || !strings.Contains(out, "there is a file") {
		t.Error(out, err)
	}
	if b, err := os.ReadFile(path); string(b) != "mine" {
		t.Error(b, err)
	}
}

func TestProxyOfDatagrams(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	pid := int(state(t, d, "c1").Pid)
	var server net.PacketConn
	inside(t, d, pid, func() (err error) {
		server, err = net.ListenPacket("udp4", "127.0.0.1:53")
		return err
	})
	defer server.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(append([]byte("re: "), buf[:n]...), from)
		}
	}()
	d.LXC("config", "device", "add", "c1", "dns", "proxy", "listen=udp:127.0.0.1:5353", "connect=udp:127.0.0.1:53")
	for i := range 3 {
		c := reach(t, d, 0, "udp", "127.0.0.1:5353")
		buf := make([]byte, 100)
		fmt.Fprintf(c, "q%d", i)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != fmt.Sprintf("re: q%d", i) {
			t.Fatalf("%q %v", buf[:n], err)
		}
	}
}

func TestProxyTellsWhoTheClientIs(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	echo(t, d, int(state(t, d, "c1").Pid), "tcp", "127.0.0.1:7")
	d.LXC("config", "device", "add", "c1", "p", "proxy", "listen=tcp:127.0.0.1:8007", "connect=tcp:127.0.0.1:7", "proxy_protocol=true")
	c := reach(t, d, 0, "tcp", "127.0.0.1:8007")
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	from := c.LocalAddr().(*net.TCPAddr).Port
	if line, err := r.ReadString('\n'); err != nil || line != fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d 8007\r\n", from) {
		t.Errorf("%q %v", line, err)
	}
}
