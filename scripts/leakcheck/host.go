package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// things are what was found on a host, by kind.
type things map[string][]string

// minus lists what is in t more often than in before.
func (t things) minus(before things) []string {
	var left []string
	for _, kind := range slices.Sorted(maps.Keys(t)) {
		count := map[string]int{}
		for _, item := range before[kind] {
			count[item]++
		}
		for _, item := range t[kind] {
			if count[item]--; count[item] < 0 {
				left = append(left, kind+" "+item)
			}
		}
	}
	return left
}

// host is a machine to look at.
type host struct {
	// root holds proc, sys and run; it is / but in tests.
	root string
	// scratch is the folder whose files are watched, if any.
	scratch string
	nft     func() ([]string, error)
}

// look collects everything that is watched.
func (h host) look() (things, error) {
	found := things{}
	for kind, list := range map[string]func() ([]string, error){
		"mount": h.mounts, "link": h.links, "network namespace": h.namespaces, "cgroup": h.cgroups, "nft table": h.nft,
		"process": h.processes, "loop device": h.loops, "file": h.files,
	} {
		items, err := list()
		if err != nil {
			return nil, fmt.Errorf("looking for %ss: %w", kind, err)
		}
		slices.Sort(items)
		found[kind] = items
	}
	return found, nil
}

func (h host) path(p string) string { return filepath.Join(h.root, p) }

// mounts lists mount point and type from mountinfo, whose optional fields end with a dash.
func (h host) mounts() ([]string, error) {
	data, err := os.ReadFile(h.path("proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		left, right, ok := strings.Cut(line, " - ")
		fields := strings.Fields(left)
		if !ok || len(fields) < 5 {
			return nil, fmt.Errorf("odd mountinfo line %q", line)
		}
		kind, _, _ := strings.Cut(right, " ")
		out = append(out, fields[4]+" ("+kind+")")
	}
	return out, nil
}

func (h host) links() ([]string, error)      { return h.names("sys/class/net") }
func (h host) namespaces() ([]string, error) { return h.names("run/netns") }

// names lists a folder; one that does not exist is empty.
func (h host) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(h.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, err
}

// cgroups lists the folders of all hierarchies, but for those that belong to the init system, which come and go by themselves.
func (h host) cgroups() ([]string, error) {
	top := h.path("sys/fs/cgroup")
	var out []string
	err := walk(top, func(p string, d fs.DirEntry) error {
		name := d.Name()
		for _, unit := range []string{".slice", ".scope", ".service"} {
			if strings.HasSuffix(name, unit) {
				return fs.SkipDir
			}
		}
		if d.IsDir() && p != top {
			out = append(out, strings.TrimPrefix(p, top))
		}
		return nil
	})
	return out, err
}

// walk visits a tree in which things may disappear at any time.
func walk(top string, visit func(string, fs.DirEntry) error) error {
	return filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(p, d)
	})
}

// ours are the programs that a test may start, also as a copy in memory; those of others that ran before are in the snapshot.
var ours = []string{"lxd", "lxd-lxc", "memfd:lxd-lxc", "lxd-agent", "dnsmasq"}

// processes lists the programs of ours by name, id and arguments.
func (h host) processes() ([]string, error) {
	dirs, err := filepath.Glob(h.path("proc/[0-9]*"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, dir := range dirs {
		// The program may be gone by now, or have been replaced on disk; both are not errors here.
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		args := strings.TrimSpace(string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		name, _, _ := strings.Cut(args, " ")
		exe = strings.TrimSuffix(exe, " (deleted)")
		inScratch := h.scratch != "" && strings.Contains(args, h.scratch) && filepath.Base(exe) != "leakcheck"
		if args != "" && (slices.Contains(ours, filepath.Base(exe)) || slices.Contains(ours, filepath.Base(name)) || inScratch) {
			out = append(out, filepath.Base(dir)+" "+args)
		}
	}
	return out, nil
}

func (h host) loops() ([]string, error) {
	files, err := filepath.Glob(h.path("sys/block/loop*/loop/backing_file"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		backing, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		dev := filepath.Base(filepath.Dir(filepath.Dir(f)))
		out = append(out, dev+" "+strings.TrimSpace(string(backing)))
	}
	return out, nil
}

// files lists the scratch folder. What the go command keeps there while it runs is not a leak.
func (h host) files() ([]string, error) {
	if h.scratch == "" {
		return nil, nil
	}
	var out []string
	err := walk(h.scratch, func(p string, d fs.DirEntry) error {
		if strings.HasPrefix(d.Name(), "go-build") {
			return fs.SkipDir
		}
		if p != h.scratch {
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// nftTables asks nft; a host without it has no tables.
func nftTables() ([]string, error) {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil, nil
	}
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("nft list tables: %w: %s", err, bytes.TrimSpace(out))
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), nil
}
