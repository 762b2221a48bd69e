package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryRow is what ten more running containers add in private memory outside of them: monitors and other processes that stay.
func memoryRow(ctx context.Context, _ *bench, s *server, i int) (float64, error) {
	const n = 10
	name := func(k int) string { return fmt.Sprintf("mem%d-%d", i, k) }
	before, err := s.private()
	if err != nil {
		return 0, err
	}
	for k := range n {
		if err := s.run(ctx, "init", "busybox", name(k)); err != nil {
			return 0, err
		}
		if err := s.run(ctx, "start", name(k)); err != nil {
			return 0, err
		}
	}
	after, err := s.private()
	if err != nil {
		return 0, err
	}
	for k := range n {
		if err := s.run(ctx, "delete", "-f", name(k)); err != nil {
			return 0, err
		}
	}
	return (after - before) / n, nil
}

// private sums, in MB, the private memory of the server's processes on the host, the daemon itself and the containers' own left out.
func (s *server) private() (mb float64, err error) {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	host, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return 0, err
	}
	daemon, err := s.daemon()
	if err != nil {
		return 0, err
	}
	for _, p := range procs {
		cmd, _ := os.ReadFile(p + "/cmdline")
		ns, _ := os.Readlink(p + "/ns/pid")
		mine := strings.Contains(string(cmd), s.dir) || strings.Contains(string(cmd), "[lxc monitor]") && strings.Contains(string(cmd), s.dir)
		if ns != host || !mine || filepath.Base(p) == strconv.Itoa(daemon) {
			continue
		}
		kb, err := field(p+"/smaps_rollup", "Private_Clean:", "Private_Dirty:")
		if err != nil {
			continue // it ended meanwhile
		}
		mb += kb / 1024
	}
	return mb, nil
}

// daemon is the process id of the daemon: the one that nsenter became.
func (s *server) daemon() (int, error) {
	if s.cmd == nil || s.cmd.Process == nil {
		return 0, fmt.Errorf("%s: the daemon does not run", s.label)
	}
	return s.cmd.Process.Pid, nil
}

// rss is the daemon's resident memory in MB.
func (s *server) rss() (float64, error) {
	pid, err := s.daemon()
	if err != nil {
		return 0, err
	}
	kb, err := field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
	return kb / 1024, err
}

// field sums the named fields (kB) of a file of the kernel.
func field(file string, names ...string) (kb float64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		parts := strings.Fields(sc.Text())
		for _, n := range names {
			if len(parts) > 1 && parts[0] == n {
				v, _ := strconv.ParseFloat(parts[1], 64)
				kb += v
			}
		}
	}
	return kb, nil
}
