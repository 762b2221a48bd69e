package machinetest

import (
	"testing"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

func usage(t *testing.T, s Subject) {
	m, _ := s.start(t)
	u, err := m.Usage(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if u.PID != m.Handle().PID || u.Processes == 0 || u.CPUNanos == 0 || u.MemoryBytes == 0 {
		t.Errorf("%+v", u)
	}
	if len(u.Networks) == 0 || u.Networks[0].Name != "lo" || u.Networks[0].Type != "loopback" {
		t.Errorf("networks %+v", u.Networks)
	}
}

func metrics(t *testing.T, s Subject) {
	m, _ := s.start(t)
	meter, ok := m.(machine.Meter)
	if !ok {
		t.Skip("this driver has no metrics")
	}
	got, err := meter.Metrics(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.Processes == 0 || got.EffectiveCPUs == 0 || len(got.CPUs) == 0 || len(got.Networks) == 0 || got.Memory["MemTotal"] <= got.Memory["MemFree"] {
		t.Errorf("%+v", got)
	}
	if len(got.Filesystems) == 0 || got.Filesystems[0].MountPoint != "/" || got.Filesystems[0].Type == "" || got.Filesystems[0].Size < got.Filesystems[0].Free {
		t.Errorf("file systems %+v", got.Filesystems)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := meter.Metrics(deadline(t)); !errs.Is(err, errs.Unavailable) {
		t.Errorf("of an ended machine: %v", err)
	}
}
