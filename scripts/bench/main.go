// Command bench measures this program beside Debian's lxd 5.0.2 in one run and prints the ratios of the medians.
//
// Both daemons run in private state directories and network namespaces of their own, with the same images, on a dir pool but for the
// rows that say otherwise.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built binaries")
	flag.IntVar(&o.rounds, "rounds", 10, "measurements a row; the median counts")
	flag.IntVar(&o.many, "many", 1000, "instances in the rows about lists")
	flag.StringVar(&o.only, "only", "", "run only the rows whose name contains this text")
	flag.StringVar(&o.debian, "debian", "", "tarball of a Debian root file system; empty builds one")
	flag.StringVar(&o.write, "write", "", "also write the table to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, only, debian, write string
	rounds, many             int
}

func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("containers need root: run it with sudo")
	}
	dir, err := os.MkdirTemp("/var/tmp", "lxd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // a container's root is nobody here
		return err
	}
	images, err := makeImages(ctx, dir, o.debian)
	if err != nil {
		return err
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	ours := &server{label: "ours", lxd: bin + "/lxd", lxc: bin + "/lxc", dir: dir + "/ours", pool: "default", netns: fmt.Sprintf("bench-o%d", os.Getpid())}
	theirs := &server{label: "5.0.2", lxd: "/usr/bin/lxd", lxc: "/usr/bin/lxc", dir: dir + "/theirs", pool: "default", netns: fmt.Sprintf("bench-t%d", os.Getpid())}
	for _, s := range []*server{ours, theirs} {
		defer s.close()
		if err := s.open(ctx, images); err != nil {
			return fmt.Errorf("%s: %w", s.label, err)
		}
	}
	b := &bench{ours: ours, theirs: theirs, rounds: o.rounds, many: o.many}
	for _, r := range rows {
		if !strings.Contains(r.name, o.only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s …\n", r.name)
		if err := b.measure(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	table := b.table()
	fmt.Print(table)
	if o.write != "" {
		return os.WriteFile(o.write, []byte(page(table)), 0o644)
	}
	return nil
}
