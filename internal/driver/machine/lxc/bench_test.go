//go:build system

package lxc_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lxd/internal/driver/machine/lxc"
	"lxd/internal/machine"
)

// TestTimes measures, and fails only on what is far off.
func TestTimes(t *testing.T) {
	d, p := driver(t), plan(t)
	var starts, kills, execs []time.Duration
	var memory int64
	for range 20 {
		begin := time.Now()
		m, err := d.Start(t.Context(), p)
		must(t, err)
		starts = append(starts, time.Since(begin))
		for range 10 {
			begin = time.Now()
			proc, err := m.Exec(t.Context(), machine.Command{Args: []string{"/bin/true"}})
			must(t, err)
			if code, err := proc.Wait(t.Context()); code != 0 || err != nil {
				t.Fatal(code, err)
			}
			execs = append(execs, time.Since(begin))
		}
		memory = private(t, m.Handle().MonitorPID)
		begin = time.Now()
		must(t, m.Kill(t.Context()))
		kills = append(kills, time.Since(begin))
	}
	t.Logf("start %v, kill %v, exec %v, private memory %d KiB", median(starts), median(kills), median(execs), memory)
	if median(starts) > 500*time.Millisecond || median(kills) > time.Second || median(execs) > 100*time.Millisecond || memory > 1024 {
		t.Error("far slower or larger than it should be")
	}
}

// TestManyAtOnce starts and ends many containers side by side, over the same root.
func TestManyAtOnce(t *testing.T) {
	d, base := driver(t), plan(t)
	const count, width = 30, 6
	begin := time.Now()
	slots, failed := make(chan struct{}, width), make(chan error, count)
	for i := range count {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			failed <- live(t, d, base, fmt.Sprintf("t1-%d", i))
		}()
	}
	for range count {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d in %v", count, time.Since(begin))
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/lxc.*.t1-*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// live starts a container, runs something in it and ends it.
func live(t *testing.T, d *lxc.Driver, p machine.Plan, id string) error {
	dir := filepath.Join(filepath.Dir(p.RunDir), id)
	p.ID, p.RunDir, p.LogDir = id, dir, dir
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	m, err := d.Start(t.Context(), p)
	if err != nil {
		return err
	}
	proc, err := m.Exec(t.Context(), machine.Command{Args: []string{"/bin/true"}})
	if err != nil {
		return errors.Join(err, m.Kill(t.Context()))
	}
	code, err := proc.Wait(t.Context())
	if code != 0 && err == nil {
		state, e := m.Status(t.Context())
		err = fmt.Errorf("exit code %d, the machine is %d (%v)", code, state, e)
	}
	return errors.Join(err, m.Kill(t.Context()))
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(10 * time.Microsecond)
}

// private is the memory that only this process has, in KiB, without what it has only because it is the first to run a library.
func private(t *testing.T, pid int) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "Private_Dirty:"); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			must(t, err)
			return n
		}
	}
	t.Fatal("no figure")
	return 0
}
