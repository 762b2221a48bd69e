package fake_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/internal/driver/machine/fake"
	"lxd/internal/machine"
	"lxd/internal/machine/machinetest"
)

func plan(t *testing.T) machine.Plan {
	t.Helper()
	dir := t.TempDir()
	return machine.Plan{ID: "default_c1", Name: "c1", RunDir: dir, LogDir: dir, Root: dir, NICs: []machine.NIC{{Name: "eth0", HostName: "veth1"}}}
}

func TestContract(t *testing.T) {
	machinetest.Run(t, func(*testing.T) machinetest.Subject {
		host := &fake.Host{}
		return machinetest.Subject{Driver: host.Driver(), Plan: plan, Again: func(*testing.T) machine.Driver { return host.Driver() }}
	})
}

func TestOnStart(t *testing.T) {
	boom := errors.New("boom")
	host := &fake.Host{OnStart: func(context.Context, machine.Plan) error { return boom }}
	if _, err := host.Driver().Start(t.Context(), plan(t)); !errors.Is(err, boom) || len(host.Running()) != 0 {
		t.Fatal(err)
	}
	host.OnStart = nil
	if _, err := host.Driver().Start(t.Context(), plan(t)); err != nil || !slices.Equal(host.Running(), []string{"default_c1"}) {
		t.Fatal(err, host.Running())
	}
}

func TestRunFolderMustExist(t *testing.T) {
	p := plan(t)
	p.RunDir = filepath.Join(p.RunDir, "none")
	if _, err := new(fake.Host).Driver().Start(t.Context(), p); err == nil {
		t.Fatal("started without a folder")
	}
}

func TestConsole(t *testing.T) {
	m, err := new(fake.Host).Driver().Start(t.Context(), plan(t))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := m.(machine.Console)
	if !ok {
		t.Fatal("no console")
	}
	first, err := c.Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal("the first opening goes on", err)
	}
	if _, err := io.WriteString(second, "hello"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := second.Read(buf); string(buf[:n]) != "hello" || err != nil {
		t.Fatal(buf[:n], err)
	}
	if log, err := c.ConsoleLog(t.Context()); !strings.Contains(string(log), "booted") || err != nil {
		t.Fatal(log, err)
	}
}
