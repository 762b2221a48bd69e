package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netns"
)

// DialIn is a dialer in the network namespace of that name; "" is the one that the test runs in.
func DialIn(name string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = within(name, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// ListenIn opens a TCP address in the network namespace of that name.
func ListenIn(name, address string) (l net.Listener, err error) {
	err = within(name, func() error {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// within calls fn with the thread in a network namespace. A thread that cannot be brought back ends with its goroutine.
func within(name string, fn func() error) error {
	if name == "" {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		there, err := netns.GetFromName(name)
		if err != nil {
			done <- err
			return
		}
		defer there.Close()
		if err := netns.Set(there); err != nil {
			done <- err
			return
		}
		err = fn()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// tlsClient sends requests to a script's daemon over its network address. conf is a folder with client.crt and client.key, "" is none.
func tlsClient(ts *testscript.TestScript, address, conf string) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true}
	if conf != "" {
		dir := ts.MkAbs(conf)
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
		if errors.Is(err, fs.ErrNotExist) {
			ts.Fatalf("%s has no certificate", dir)
		}
		ts.Check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	connect := DialIn(ts.Getenv("NETNS"))
	return &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return connect(ctx, network, address) }}}
}

// runIn runs a program where the daemon's network is.
func runIn(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: net COMMAND …")
	}
	if ns := ts.Getenv("NETNS"); ns != "" {
		args = append([]string{"nsenter", "--net=/run/netns/" + ns}, args...)
	}
	if err := ts.Exec(args[0], args[1:]...); (err != nil) != neg {
		ts.Fatalf("%v: %v\n%s%s", args, err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// port keeps a port of the loopback address that is free where the daemon's network is.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port VARIABLE")
	}
	ts.Check(within(ts.Getenv("NETNS"), func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		return l.Close()
	}))
}
