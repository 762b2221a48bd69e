//go:build system

// Package system tests the built binaries on a real kernel, as root.
package system

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lxd/test/harness"
)

// ready is a daemon that is set up, with the busybox image.
func ready(t *testing.T, env ...string) *harness.Daemon {
	t.Helper()
	d := harness.New(t)
	d.Start(env...)
	d.Init()
	d.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
	return d
}

// eventually waits for a text.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// address waits for the instance's IPv4 address.
func address(t *testing.T, d *harness.Daemon, name string) (a string) {
	t.Helper()
	eventually(t, "address of "+name, func() bool {
		a, _, _ = strings.Cut(strings.TrimSpace(d.LXC("list", "^"+name+"$", "-f", "csv", "-c", "4")), " ")
		return a != ""
	})
	return a
}

func TestLaunchEnterStopDelete(t *testing.T) {
	d := ready(t)
	before := d.Traces(t)
	d.LXC("launch", "busybox", "c1")
	ip := address(t, d, "c1")
	if out := d.LXC("exec", "c1", "--", "hostname"); strings.TrimSpace(out) != "c1" {
		t.Errorf("hostname %q", out)
	}
	if out := d.LXC("exec", "c1", "--", "cat", "/proc/self/uid_map"); !strings.Contains(out, "1000000") {
		t.Errorf("not unprivileged: %q", out)
	}
	if out, err := d.TryLXC("exec", "c1", "--", "sh", "-c", "echo to-stderr >&2; exit 7"); err == nil || !strings.Contains(out, "to-stderr") {
		t.Errorf("exit code or stderr lost: %q %v", out, err)
	}
	d.LXC("launch", "busybox", "c2")
	address(t, d, "c2")
	if out := d.LXC("exec", "c2", "--", "ping", "-c1", "-W5", ip); !strings.Contains(out, "1 packets received") {
		t.Errorf("c2 does not reach c1: %s", out)
	}
	if out := d.LXC("exec", "c2", "--", "nslookup", "c1.lxd"); !strings.Contains(out, ip) {
		t.Errorf("c1 has no name: %s", out)
	}
	d.LXC("stop", "-f", "c1")
	if out := d.LXC("list", "^c1$", "-f", "csv", "-c", "s"); strings.TrimSpace(out) != "STOPPED" {
		t.Errorf("state %q", out)
	}
	d.LXC("start", "c1")
	d.LXC("restart", "-f", "c1")
	d.LXC("delete", "-f", "c1", "c2")
	if diff := before.Diff(d.Traces(t)); len(diff) > 2 { // the image's volume may stay cached
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

func TestContainersSurviveTheDaemon(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	address(t, d, "c1")
	pid := state(t, d, "c1").Pid
	for name, end := range map[string]func(){"SIGTERM": d.Terminate, "SIGKILL": d.Kill} {
		end()
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			t.Fatalf("%s ended the container", name)
		}
		d.Start()
		if got := state(t, d, "c1").Pid; got != pid {
			t.Fatalf("after %s: process %d instead of %d", name, got, pid)
		}
		d.LXC("exec", "c1", "--", "true")
	}
	d.LXC("stop", "-f", "c1")
}

func TestDeathBehindTheDaemonsBackIsNoticed(t *testing.T) {
	d := ready(t)
	before := d.Traces(t)
	d.LXC("init", "busybox", "c1")
	d.LXC("start", "c1")
	p, err := os.FindProcess(int(state(t, d, "c1").Pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "c1 stopped", func() bool { return strings.TrimSpace(d.LXC("list", "^c1$", "-f", "csv", "-c", "s")) == "STOPPED" })
	d.LXC("start", "c1")
	pid := state(t, d, "c1").Pid
	d.Kill()
	if p, err := os.FindProcess(int(pid)); err != nil || p.Kill() != nil {
		t.Fatal("kill", err)
	}
	d.Start()
	if s := strings.TrimSpace(d.LXC("list", "^c1$", "-f", "csv", "-c", "s")); s != "STOPPED" {
		t.Fatal(s)
	}
	d.LXC("delete", "c1")
	if diff := before.Diff(d.Traces(t)); len(diff) > 2 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

func TestLimits(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1", "-c", "limits.memory=64MiB", "-c", "limits.processes=30", "-c", "limits.cpu=1", "-c", "environment.COLOUR=blue")
	if out := d.LXC("exec", "c1", "--", "env"); !strings.Contains(out, "COLOUR=blue") {
		t.Error(out)
	}
	if out, err := d.TryLXC("exec", "c1", "--", "sh", "-c", "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait"); err == nil && !strings.Contains(out, "fork") {
		t.Errorf("more than 30 processes: %q", out)
	}
	if _, err := d.TryLXC("exec", "c1", "--", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=300M count=1"); err == nil {
		t.Error("300 MB fit into 64")
	}
	d.LXC("config", "set", "c1", "limits.memory=1GiB")
	d.LXC("exec", "c1", "--", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=300M count=1")
}

func TestRebootInside(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	address(t, d, "c1")
	pid := state(t, d, "c1").Pid
	_, _ = d.TryLXC("exec", "c1", "--", "/sbin/reboot", "-f")
	eventually(t, "c1 runs again", func() bool {
		s := state(t, d, "c1")
		return s.Status == "Running" && s.Pid != pid && s.Pid > 0
	})
	address(t, d, "c1")
}

type instanceState struct {
	Status string
	Pid    int64
}

func state(t *testing.T, d *harness.Daemon, name string) (s instanceState) {
	t.Helper()
	code, body := d.HTTP("GET", "/1.0/instances/"+name+"/state", "")
	var answer struct{ Metadata instanceState }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 {
		t.Fatalf("state of %s: %d %s", name, code, body)
	}
	return answer.Metadata
}

func TestPlainHTTP(t *testing.T) {
	d := ready(t)
	do := func(method, path, body string) string {
		t.Helper()
		code, answer := d.HTTP(method, path, body)
		var env struct {
			Operation string
			Error     string
			ErrorCode int `json:"error_code"`
		}
		if err := json.Unmarshal([]byte(answer), &env); err != nil || env.Error != "" {
			t.Fatalf("%s %s: %d %s", method, path, code, answer)
		}
		if env.Operation == "" {
			return answer
		}
		_, answer = d.HTTP("GET", env.Operation+"/wait", "")
		if !strings.Contains(answer, `"status":"Success"`) {
			t.Fatalf("%s %s: %s", method, path, answer)
		}
		return answer
	}
	got := do("POST", "/1.0/instances", `{"name":"h1","source":{"type":"image","alias":"busybox"},"start":true}`)
	if !strings.Contains(got, `"entity_url":"/1.0/instances/h1"`) {
		t.Error(got)
	}
	do("PUT", "/1.0/instances/h1/state", `{"action":"stop","force":true}`)
	do("DELETE", "/1.0/instances/h1", "")
	if code, _ := d.HTTP("GET", "/1.0/instances/h1", ""); code != 404 {
		t.Error("status", code)
	}
}

func TestTwoDaemonsInOneNetworkNamespace(t *testing.T) {
	a := ready(t)
	b := harness.NewIn(t, a.Netns)
	b.Start()
	b.Init()
	b.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
	for _, d := range []*harness.Daemon{a, b} {
		d.LXC("launch", "busybox", "same")
		address(t, d, "same")
	}
	a.LXC("stop", "-f", "same")
	b.LXC("exec", "same", "--", "true")
}
