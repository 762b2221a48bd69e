package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Traces is what a daemon has on the host at one moment: mounts, links, cgroups, processes, volumes.
type Traces []string

// Traces lists what is there of the daemon, its own process, database and logs left out.
func (d *Daemon) Traces(t testing.TB) Traces {
	t.Helper()
	var all Traces
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.Contains(line, d.Dir) {
			all = append(all, "mount "+f[4])
		}
	}
	out, err := exec.Command("ip", "-n", d.Netns, "-o", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSuffix(strings.Fields(line)[1], ":"), "@")
		if name != "lo" {
			all = append(all, "link "+name)
		}
	}
	all = append(all, d.processes()...)
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		// the device's number may be another after a restart
		if b, _ := os.ReadFile(l); strings.Contains(string(b), d.Dir) {
			all = append(all, "loop device of "+strings.TrimSpace(string(b)))
		}
	}
	for _, dir := range []string{"storage-pools/*/containers", "storage-pools/*/images", "storage-pools/*/custom", "storage-pools/*/*/*/snapshots", "storage-pools/*/.tmp", "disks", "images", "backups", "run", "tmp", "networks"} {
		found, _ := filepath.Glob(filepath.Join(d.Dir, dir, "*"))
		for _, f := range found {
			all = append(all, "file "+strings.TrimPrefix(f, d.Dir))
		}
	}
	slices.Sort(all)
	return all
}

// processes lists helpers, monitors and dnsmasq of the daemon: whoever names its state directory.
func (d *Daemon) processes() (all []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, err := os.ReadFile(p)
		pid := filepath.Base(filepath.Dir(p))
		if err != nil || !strings.Contains(string(b), d.Dir) || pid == fmt.Sprint(os.Getpid()) {
			continue
		}
		if d.cmd != nil && pid == fmt.Sprint(d.cmd.Process.Pid) {
			continue
		}
		all = append(all, "process "+strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " "))
	}
	return all
}

// Diff lists what is in now but not in before, and with a minus what is gone.
func (before Traces) Diff(now Traces) (diff []string) {
	for _, x := range now {
		if !slices.Contains(before, x) {
			diff = append(diff, "+ "+x)
		}
	}
	for _, x := range before {
		if !slices.Contains(now, x) {
			diff = append(diff, "- "+x)
		}
	}
	return diff
}
