//go:build system

package system

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/test/harness"
)

// asking is a daemon with running containers that have the program to ask it: one usual, one privileged.
func asking(t *testing.T) *harness.Daemon {
	t.Helper()
	d := ready(t)
	for name, extra := range map[string][]string{"c1": nil, "root": {"-c", "security.privileged=true"}} {
		d.LXC(append([]string{"init", "busybox", name, "-c", "user.who=" + name}, extra...)...)
		d.LXC("file", "push", harness.GuestTool(t), name+"/bin/guest", "--mode", "0755")
		d.LXC("start", name)
	}
	return d
}

func whoami(t *testing.T, d *harness.Daemon, name string, prefix ...string) string {
	t.Helper()
	args := append(append([]string{"exec", name, "--"}, prefix...), "guest", "GET", "/1.0/config/user.who")
	out, err := d.TryLXC(args...)
	if err != nil {
		t.Fatal(name, prefix, out)
	}
	return strings.TrimSpace(out)
}

// TestGuestsAreKnown asks from containers, from namespaces below theirs, from the host, and after the daemon has died.
func TestGuestsAreKnown(t *testing.T) {
	d := asking(t)
	for _, name := range []string{"c1", "root"} {
		if got := whoami(t, d, name); got != "200\n"+name {
			t.Error(name, got)
		}
		if got := whoami(t, d, name, "busybox", "unshare", "--pid", "--fork"); got != "200\n"+name {
			t.Error("below", name, got)
		}
	}
	for _, name := range []string{"c1", "root"} { // root of the host is root of the privileged one too, but not in it
		client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("unix", filepath.Join(d.Dir, "run", name, "devlxd/sock"))
		}}}
		resp, err := client.Get("http://lxd/1.0/config/user.who")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("the host is taken for %s: %d %s %v", name, resp.StatusCode, body, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
	}
	if out := d.LXC("exec", "c1", "--", "guest", "PATCH", "/1.0", `{"state": "Ready"}`); !strings.HasPrefix(out, "200") {
		t.Error(out)
	}
	d.Kill()
	if out, err := d.TryLXC("version"); err == nil && strings.Contains(out, "Server version: 6") {
		t.Error("the daemon is still there", out)
	}
	d.Start()
	if got := whoami(t, d, "c1"); got != "200\nc1" {
		t.Error("after the daemon was killed:", got)
	}
	if out := d.LXC("list", "-c", "ns", "-f", "csv"); !strings.Contains(out, "c1,READY") {
		t.Error("what a guest said is forgotten:", out)
	}
	if out := d.LXC("exec", "c1", "--", "guest", "seed"); !strings.Contains(out, "instance-id: ") || !strings.Contains(out, "== /1.0/config/user.who\nc1\n") {
		t.Error(out)
	}
}

// TestHostileGuest has a guest open many connections that are silent, slow or too long. Others are served meanwhile, the guest itself again
// afterwards, and nothing of it is left.
func TestHostileGuest(t *testing.T) {
	d := asking(t)
	c := &crowd{t: t, d: d}
	before := c.open()
	done := make(chan string, 1)
	go func() {
		out, err := d.TryLXC("exec", "c1", "--", "guest", "flood", "1000")
		if err != nil {
			out += err.Error()
		}
		done <- out
	}()
	worst := time.Duration(0)
	for asked := 0; ; asked++ {
		select {
		case out := <-done:
			if !strings.Contains(out, "then 200") {
				t.Error(out)
			}
			if asked == 0 || worst > 5*time.Second {
				t.Errorf("another guest asked %d times and waited for %v", asked, worst)
			}
			eventually(t, "the connections are closed", func() bool { return c.open() <= before+8 })
			return
		default:
			begun := time.Now()
			if got := whoami(t, d, "root"); got != "200\nroot" {
				t.Error(got)
			}
			worst = max(worst, time.Since(begun))
		}
	}
}
