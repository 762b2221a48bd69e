package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// row is one line of the table. measure returns one number of one server; ratio is the largest allowed of ours to theirs.
type row struct {
	name, unit string
	ratio      float64
	// rounds overrides how often it is measured, for slow rows.
	rounds int
	// alone rows are measured on our side only, against the row named base.
	alone, base string
	prepare     func(ctx context.Context, b *bench, s *server) error
	measure     func(ctx context.Context, b *bench, s *server, i int) (float64, error)
	finish      func(ctx context.Context, b *bench, s *server) error
}

var rows = []row{
	{name: "start", unit: "ms", ratio: 0.30, prepare: fresh, measure: startRow, finish: drop},
	{name: "stop -f", unit: "ms", ratio: 0.15, prepare: fresh, measure: stopRow, finish: drop},
	{name: "launch (init + start)", unit: "ms", ratio: 0.35, measure: launchRow("busybox")},
	{name: "launch of the Debian image, from the second time on", unit: "ms", ratio: 0.08, prepare: warm, measure: launchRow("debian")},
	{name: "exec true (whole client run)", unit: "ms", ratio: 0.4, prepare: running, measure: timed("exec", "m", "--", "/bin/true"), finish: drop},
	// Of that many clients at a time, some of 5.0.2 never end: the API is called without them.
	{name: "64 execs at the same time, by the API", unit: "ms", ratio: 0.3, rounds: 5, prepare: running, measure: manyExecs, finish: drop},
	{name: "file push of 1 KB", unit: "ms", ratio: 0.3, prepare: running, measure: fileRow("push", small), finish: drop},
	{name: "file pull of 1 KB", unit: "ms", ratio: 0.3, prepare: running, measure: fileRow("pull", small), finish: drop},
	{name: "file push of 100 MB", unit: "ms", ratio: 0.7, rounds: 5, prepare: running, measure: fileRow("push", large), finish: drop},
	{name: "file pull of 100 MB", unit: "ms", ratio: 0.7, rounds: 5, prepare: running, measure: fileRow("pull", large), finish: drop},
	{name: "delete -f of a running one", unit: "ms", ratio: 0.25, measure: deleteRow},
	{name: "snapshot of a running Debian instance", unit: "ms", ratio: 0.5, prepare: debian, measure: snapshotRow, finish: drop},
	{name: "restore of a stopped Debian instance", unit: "ms", ratio: 0.5, prepare: kept, measure: timed("restore", "m", "s"), finish: drop},
	{name: "copy of a stopped Debian instance", unit: "ms", ratio: 0.5, prepare: kept, measure: copyRow, finish: drop},
	{name: "snapshot of a running Debian instance on btrfs", unit: "ms", ratio: 0.4, prepare: onBtrfs(debian), measure: snapshotRow, finish: drop},
	{name: "restore of a stopped Debian instance on btrfs", unit: "ms", ratio: 0.4, prepare: onBtrfs(kept), measure: timed("restore", "m", "s"), finish: drop},
	{name: "copy of a stopped Debian instance on btrfs", unit: "ms", ratio: 0.4, prepare: onBtrfs(kept), measure: copyRow, finish: drop},
	{name: "launch of the Debian image on btrfs, from the second time on", unit: "ms", ratio: 0.4, prepare: onBtrfs(warm), measure: launchRow("debian", "-s", "fast")},
	{name: "export of a stopped Debian instance", unit: "ms", ratio: 0.6, rounds: 3, prepare: still, measure: backupRow, finish: drop},
	{name: "import of the backup of a Debian instance", unit: "ms", ratio: 0.6, rounds: 3, prepare: backedUp, measure: restoreRow, finish: drop},
	{name: "publish of a stopped Debian instance", unit: "ms", ratio: 0.6, rounds: 3, prepare: still, measure: publishRow, finish: drop},
	{name: "export of the Debian image", unit: "ms", ratio: 0.6, rounds: 5, measure: exportRow},
	{name: "import of a Debian image, one file", unit: "ms", ratio: 0.5, rounds: 5, measure: importRow(false)},
	{name: "import of a Debian image, squashfs", unit: "ms", ratio: 0.5, rounds: 5, measure: importRow(true)},
	{name: "first instance of a Debian image, squashfs", unit: "ms", ratio: 0.8, rounds: 3, measure: unpackRow},
	{name: "60 starts, 6 at a time", unit: "ms", ratio: 0.35, rounds: 3, prepare: sixty, measure: startSixty, finish: dropSixty},
	{name: "scrape of the metrics with 60 running", unit: "ms", ratio: 0.2, rounds: 3, prepare: sixtyRunning, measure: scrapeRow, finish: dropSixty},
	{name: "512 MB through a proxy device", unit: "ms", ratio: 1, rounds: 5, prepare: proxy, measure: proxyRow, finish: drop},
	{name: "GET /1.0, a hundred times", unit: "ms", ratio: 0.7, measure: repeatedly("/1.0")},
	{name: "lxc project list", unit: "ms", ratio: 0.7, measure: timed("project", "list")},
	{name: "lxc profile show", unit: "ms", ratio: 0.7, measure: timed("profile", "show", "default")},
	{name: "private memory a running container leaves", unit: "MB", ratio: 0.1, rounds: 3, measure: memoryRow},
	{name: "daemon: start to ready", unit: "ms", ratio: 0.5, measure: readyRow},
	{name: "daemon: idle RSS", unit: "MB", ratio: 1.0, rounds: 3, measure: idleRow},
	{name: "lxc list with 1,000 stopped", unit: "ms", ratio: 0.06, prepare: crowd, measure: timed("list")},
	{name: "GET /1.0/instances?recursion=2 with 1,000", unit: "ms", ratio: 0.03, prepare: crowd, measure: listRow},
	{name: "daemon: RSS with 1,000 instances", unit: "MB", ratio: 0.4, rounds: 3, prepare: crowd, measure: idleRow},
	{name: "the same GET with 10,000, ours against ours with 1,000", unit: "ms", ratio: 12, alone: "ours",
		base: "GET /1.0/instances?recursion=2 with 1,000", prepare: bigCrowd, measure: listRow},
	{name: "list of 10,000 instances over HTTPS, for a token with all rights", unit: "ms", ratio: 3, alone: "ours",
		base: "the same GET with 10,000, ours against ours with 1,000", prepare: bearer("all", allRights), measure: bearerRow("all")},
	{name: "list of 10,000 instances over HTTPS, with fine-grained rights", unit: "ms", ratio: 2, alone: "ours",
		base: "list of 10,000 instances over HTTPS, for a token with all rights", prepare: bearer("some", someRights), measure: bearerRow("some")},
}

func since(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

// timedCall times fn.
func timedCall(fn func() error) (float64, error) {
	t := time.Now()
	err := fn()
	return since(t), err
}

func timed(args ...string) func(context.Context, *bench, *server, int) (float64, error) {
	return func(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
		t := time.Now()
		err := s.run(ctx, args...)
		return since(t), err
	}
}

func fresh(ctx context.Context, _ *bench, s *server) error { return s.run(ctx, "init", "busybox", "m") }
func drop(ctx context.Context, _ *bench, s *server) error  { return s.run(ctx, "delete", "-f", "m") }

func running(ctx context.Context, b *bench, s *server) error {
	if err := fresh(ctx, b, s); err != nil {
		return err
	}
	return s.run(ctx, "start", "m")
}

type prepare = func(context.Context, *bench, *server) error

// onBtrfs has what is prepared made in a btrfs pool, which is in a file.
func onBtrfs(p prepare) prepare {
	return func(ctx context.Context, b *bench, s *server) error {
		if !s.btrfs {
			if err := s.run(ctx, "storage", "create", "fast", "btrfs", "size=8GiB"); err != nil {
				return err
			}
			s.btrfs = true
		}
		s.pool = "fast"
		defer func() { s.pool = "default" }()
		return p(ctx, b, s)
	}
}

// debian makes a running instance of the Debian image that has written something of its own.
func debian(ctx context.Context, _ *bench, s *server) error {
	for _, args := range [][]string{{"init", "debian", "m", "-s", s.pool}, {"start", "m"},
		{"exec", "m", "--", "sh", "-c", "cp -a /usr/bin /root/written && head -c 10000000 /dev/urandom > /root/random"}} {
		if err := s.run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// kept makes such an instance, stopped, with a snapshot.
func kept(ctx context.Context, b *bench, s *server) error {
	if err := debian(ctx, b, s); err != nil {
		return err
	}
	if err := s.run(ctx, "stop", "-f", "m"); err != nil {
		return err
	}
	return s.run(ctx, "snapshot", "m", "s")
}

func snapshotRow(ctx context.Context, _ *bench, s *server, i int) (float64, error) {
	name := fmt.Sprintf("s%d", i)
	t := time.Now()
	if err := s.run(ctx, "snapshot", "m", name); err != nil {
		return 0, err
	}
	d := since(t)
	return d, s.run(ctx, "delete", "m/"+name)
}

func copyRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	t := time.Now()
	if err := s.run(ctx, "copy", "--instance-only", "m", "n"); err != nil {
		return 0, err
	}
	d := since(t)
	return d, s.run(ctx, "delete", "n")
}

func warm(ctx context.Context, _ *bench, s *server) error {
	if err := s.run(ctx, "init", "debian", "m", "-s", s.pool); err != nil {
		return err
	}
	return s.run(ctx, "delete", "m")
}

func startRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	t := time.Now()
	if err := s.run(ctx, "start", "m"); err != nil {
		return 0, err
	}
	d := since(t)
	return d, s.run(ctx, "stop", "-f", "m")
}

func stopRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	if err := s.run(ctx, "start", "m"); err != nil {
		return 0, err
	}
	t := time.Now()
	err := s.run(ctx, "stop", "-f", "m")
	return since(t), err
}

func launchRow(alias string, flags ...string) func(context.Context, *bench, *server, int) (float64, error) {
	return func(ctx context.Context, _ *bench, s *server, i int) (float64, error) {
		name := fmt.Sprintf("l%d", i)
		t := time.Now()
		if err := s.run(ctx, append([]string{"init", alias, name}, flags...)...); err != nil {
			return 0, err
		}
		if err := s.run(ctx, "start", name); err != nil {
			return 0, err
		}
		d := since(t)
		return d, s.run(ctx, "delete", "-f", name)
	}
}

func deleteRow(ctx context.Context, b *bench, s *server, _ int) (float64, error) {
	if err := running(ctx, b, s); err != nil {
		return 0, err
	}
	t := time.Now()
	err := drop(ctx, b, s)
	return since(t), err
}

// each runs f for sixty names, six at a time, and returns the first error.
func each(f func(name string) error) error {
	var wg sync.WaitGroup
	slots, errs := make(chan struct{}, 6), make(chan error, 60)
	for i := range 60 {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(fmt.Sprintf("p%d", i)); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func sixty(ctx context.Context, _ *bench, s *server) error {
	return each(func(n string) error { return s.run(ctx, "init", "busybox", n) })
}

func dropSixty(ctx context.Context, _ *bench, s *server) error {
	return each(func(n string) error { return s.run(ctx, "delete", "-f", n) })
}

func startSixty(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	t := time.Now()
	if err := each(func(n string) error { return s.run(ctx, "start", n) }); err != nil {
		return 0, err
	}
	d := since(t)
	return d, each(func(n string) error { return s.run(ctx, "stop", "-f", n) })
}

func readyRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	if err := s.stop(); err != nil {
		return 0, err
	}
	t := time.Now()
	err := s.start(ctx)
	return since(t), err
}

func idleRow(ctx context.Context, b *bench, s *server, i int) (float64, error) {
	if _, err := readyRow(ctx, b, s, i); err != nil {
		return 0, err
	}
	if err := s.run(ctx, "list"); err != nil {
		return 0, err
	}
	time.Sleep(3 * time.Second)
	return s.rss()
}

func listRow(_ context.Context, _ *bench, s *server, _ int) (float64, error) {
	t := time.Now()
	err := s.get("/1.0/instances?recursion=2", nil)
	return since(t), err
}

// repeatedly times a hundred requests on one connection, since one is too short to be measured.
func repeatedly(path string) func(context.Context, *bench, *server, int) (float64, error) {
	return func(_ context.Context, _ *bench, s *server, _ int) (float64, error) {
		return timedCall(func() error {
			for range 100 {
				if err := s.get(path, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// crowd makes as many stopped instances as the rows about lists need; it is kept for all of them.
func crowd(ctx context.Context, b *bench, s *server) error { return b.fill(ctx, s, b.many) }

func bigCrowd(ctx context.Context, b *bench, s *server) error { return b.fill(ctx, s, 10*b.many) }

func (b *bench) fill(ctx context.Context, s *server, want int) error {
	if b.made == nil {
		b.made = map[*server]int{}
	}
	for ; b.made[s] < want; b.made[s]++ {
		if err := s.create(ctx, fmt.Sprintf("many%05d", b.made[s])); err != nil {
			return err
		}
	}
	return nil
}
