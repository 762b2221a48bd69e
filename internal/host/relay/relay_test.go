package relay_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/host/relay"
)

// serve runs a relay of one rule in this process, and returns once it listens.
func serve(t *testing.T, c relay.Config, root *os.File) {
	t.Helper()
	f, err := relay.Listen(c.Rules[0].Listen, relay.Place{}, relay.Owner{UID: os.Getuid(), GID: os.Getgid(), Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- relay.Serve(ctx, c, []*os.File{f}, root) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func rule(listen, connect relay.Endpoint) relay.Config {
	return relay.Config{Rules: []relay.Rule{{Listen: listen, Connect: connect}}}
}

func at(network, address string) relay.Endpoint {
	return relay.Endpoint{Network: network, Address: address}
}

// echo is a server that sends back what it gets once the client has sent everything.
func echo(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				_, _ = c.Write(all)
			}()
		}
	}()
	return l
}

// free is a TCP address that nobody uses.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(t *testing.T, e relay.Endpoint) net.Conn {
	t.Helper()
	c, err := net.Dial(e.Network, e.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStreamsOfEveryKind(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct{ from, to string }{{"tcp", "tcp"}, {"tcp", "unix"}, {"unix", "tcp"}, {"unix", "unix"}} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			where := map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(dir, fmt.Sprintf("back%d", i))}
			back := echo(t, c.to, where[c.to])
			front := at(c.from, free(t))
			if c.from == "unix" {
				front.Address = filepath.Join(dir, fmt.Sprintf("front%d", i))
			}
			serve(t, rule(front, at(c.to, back.Addr().String())), nil)
			conn := dial(t, front)
			want := strings.Repeat("0123456789", 100_000)
			go func() {
				_, _ = io.WriteString(conn, want)
				_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != want {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		})
	}
}

func TestDescriptorsGoAlong(t *testing.T) {
	dir := t.TempDir()
	back, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "back"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	front := at("unix", filepath.Join(dir, "front"))
	serve(t, rule(front, at("unix", back.Addr().String())), nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	c := dial(t, front).(*net.UnixConn)
	if _, _, err := c.WriteMsgUnix([]byte("x"), unix.UnixRights(int(w.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	in, err := back.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	data, control := make([]byte, 10), make([]byte, 100)
	n, m, _, _, err := in.ReadMsgUnix(data, control)
	if err != nil || string(data[:n]) != "x" {
		t.Fatal(data[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:m])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f := os.NewFile(uintptr(files[0]), "pipe")
	if _, err := io.WriteString(f, "through\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "through\n" {
		t.Error(line, err)
	}
}

func TestDatagrams(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(append([]byte("re "), buf[:n]...), from)
		}
	}()
	front := at("udp", free(t))
	serve(t, rule(front, at("udp", server.LocalAddr().String())), nil)
	for _, word := range []string{"a", "b"} {
		c := dial(t, front)
		buf := make([]byte, 100)
		if _, err := io.WriteString(c, word); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "re "+word {
			t.Errorf("%q %v", buf[:n], err)
		}
	}
}

func TestHeader(t *testing.T) {
	back := echo(t, "tcp", "127.0.0.1:0")
	front := at("tcp", free(t))
	c := rule(front, at("tcp", back.Addr().String()))
	c.Header = true
	serve(t, c, nil)
	conn := dial(t, front).(*net.TCPConn)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	_, to, _ := net.SplitHostPort(front.Address)
	if got, err := io.ReadAll(conn); string(got) != "PROXY TCP4 127.0.0.1 127.0.0.1 "+port+" "+to+"\r\n" {
		t.Errorf("%q %v", got, err)
	}
}

// TestPathsStayBelowTheRoot bends the path of the socket to one outside.
func TestPathsStayBelowTheRoot(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	echo(t, "unix", secret)
	rootDir := filepath.Join(dir, "root")
	if err := os.Mkdir(rootDir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(rootDir)
	if err != nil {
		t.Fatal(err)
	}
	// It is not closed: nothing tells that the relay has looked at it for the last time.
	c := rule(at("unix", filepath.Join(dir, "front")), at("unix", "/s"))
	c.Inside = true
	serve(t, c, root)
	for _, target := range []string{secret, "../secret", "/proc/self/cwd"} {
		link := filepath.Join(rootDir, "s")
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		conn := dial(t, c.Rules[0].Listen).(*net.UnixConn)
		_, _ = io.WriteString(conn, "x")
		_ = conn.CloseWrite()
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("through %s: %q", target, got)
		}
	}
	_ = os.Remove(filepath.Join(rootDir, "s"))
	echo(t, "unix", filepath.Join(rootDir, "s"))
	conn := dial(t, c.Rules[0].Listen).(*net.UnixConn)
	_, _ = io.WriteString(conn, "x")
	_ = conn.CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
}

func TestFilesInTheWay(t *testing.T) {
	dir := t.TempDir()
	owner := relay.Owner{UID: os.Getuid(), GID: os.Getgid(), Mode: 0o640}
	e := at("unix", filepath.Join(dir, "s"))
	f, err := relay.Listen(e, relay.Place{}, owner)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(e.Address); err != nil || st.Mode().Perm() != 0o640 {
		t.Error(st, err)
	}
	if _, err := relay.Listen(e, relay.Place{}, owner); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Error("a socket in use was taken", err)
	}
	f.Close()
	f, err = relay.Listen(e, relay.Place{}, owner)
	if err != nil {
		t.Fatal("a stale socket is in the way", err)
	}
	f.Close()
	if err := os.Remove(e.Address); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.Address, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := relay.Listen(e, relay.Place{}, owner); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Error(err)
	}
	if b, _ := os.ReadFile(e.Address); string(b) != "mine" {
		t.Error("a file was lost")
	}
}
