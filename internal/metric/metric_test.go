package metric_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lxd/internal/machine"
	"lxd/internal/metric"
)

// meter counts how often it was read; what it does first is for those that hang or fail.
type meter struct {
	reads atomic.Int64
	first func() error
}

func (m *meter) Metrics(context.Context) (machine.Metrics, error) {
	n := m.reads.Add(1)
	if m.first != nil {
		if err := m.first(); err != nil {
			return machine.Metrics{}, err
		}
	}
	return machine.Metrics{
		CPUs: []machine.CPUTime{{CPU: "0", Mode: "user", Seconds: 1.5}}, EffectiveCPUs: 2, Processes: n,
		Disks:       []machine.DiskIO{{Device: "sda", ReadBytes: 1, WrittenBytes: 2, ReadCount: 3, WrittenCount: 4}},
		Filesystems: []machine.Filesystem{{Device: "/dev/a\"b\\c", Type: "ext4", MountPoint: "/", Size: 3, Free: 2, Avail: 1}},
		Memory: map[string]int64{"Active": 1, "Active_anon": 1, "Active_file": 1, "Cached": 1, "Dirty": 1, "HugepagesFree": 1, "HugepagesTotal": 1,
			"Inactive": 1, "Inactive_anon": 1, "Inactive_file": 1, "Mapped": 1, "MemAvailable": 1, "MemFree": 1, "MemTotal": 1, "RSS": 1, "Shmem": 1,
			"Swap": 1, "Unevictable": 1, "Writeback": 1},
		Networks: []machine.Interface{{Name: "eth0", BytesIn: 1}},
	}, nil
}

func service(targets ...metric.Target) *metric.Service {
	return metric.New(metric.Sources{
		Began: time.Now(), Targets: func() []metric.Target { return targets }, Operations: func() int { return 3 },
		Warnings: func(context.Context) (int, error) { return 4, nil },
		Requests: func() []metric.Request {
			return []metric.Request{{Entity: "image", Ongoing: 1, Completed: map[string]int64{"succeeded": 5}}}
		},
		Instances: func(context.Context) (map[metric.Population]int, error) {
			return map[metric.Population]int{{Project: "default", Type: "container"}: 1, {Project: "web", Type: "container"}: 0}, nil
		},
	})
}

var everything = metric.Filter{Server: true, Project: func(string) bool { return true }, Instance: func(string, string) bool { return true }}

func text(t *testing.T, s *metric.Service, f metric.Filter) string {
	t.Helper()
	var b strings.Builder
	if err := s.Write(t.Context(), &b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func one(name string, m machine.Meter) metric.Target {
	return metric.Target{Project: "default", Name: name, Type: "container", Meter: m}
}

// TestExposition reads the text as a monitoring system does, and compares what there is with the published table.
func TestExposition(t *testing.T) {
	out := text(t, service(one("c1", &meter{})), everything)
	if !strings.HasSuffix(out, "\n# EOF\n") {
		t.Error("the end is not marked")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("../../spec/metrics.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if col[0] == "order" {
			continue
		}
		f := families[col[1]]
		if f == nil || strings.ToLower(f.GetType().String()) != col[2] {
			t.Errorf("%s: %v, want a %s", col[1], f, col[2])
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if col[4] != "server" || len(labels) > 0 {
			want := strings.Split(col[3], ",")
			slices.Sort(want)
			if slices.Sort(labels); !slices.Equal(labels, want) {
				t.Errorf("%s has labels %v, want %v", col[1], labels, want)
			}
		}
		delete(families, col[1])
	}
	for name := range families {
		t.Errorf("%s is in no table", name)
	}
	if !strings.Contains(out, `device="/dev/a\"b\\c"`) {
		t.Error("a label is not escaped")
	}
}

func TestFilter(t *testing.T) {
	s := service(one("c1", &meter{}), one("c2", &meter{}))
	f := everything
	f.Server, f.Instance = false, func(_, name string) bool { return name == "c2" }
	out := text(t, s, f)
	if strings.Contains(out, "c1") || !strings.Contains(out, `name="c2"`) || strings.Contains(out, "lxd_go_") {
		t.Error(out)
	}
	f.Project = func(p string) bool { return p == "web" }
	if out = text(t, s, f); strings.Contains(out, "default") || !strings.Contains(out, `lxd_instances{project="web",type="container"} 0`) {
		t.Error(out)
	}
}

func TestReadingsAreKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meter{}
		s := service(one("c1", m))
		text(t, s, everything)
		if text(t, s, everything); m.reads.Load() != 1 {
			t.Error("read again at once", m.reads.Load())
		}
		time.Sleep(9 * time.Second)
		if out := text(t, s, everything); m.reads.Load() != 2 || !strings.Contains(out, `lxd_procs_total{name="c1",project="default",type="container"} 2`) {
			t.Error("not read anew", m.reads.Load())
		}
	})
}

func TestOneThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		targets := []metric.Target{one("good", &meter{})}
		var stuck []*meter
		for range 20 {
			m := &meter{first: func() error { <-hang; return nil }}
			stuck = append(stuck, m)
			targets = append(targets, one("stuck", m))
		}
		last := &meter{}
		s := service(append(targets, one("last", last))...)
		begun := time.Now()
		if out := text(t, s, everything); !strings.Contains(out, `name="good"`) || strings.Contains(out, `name="stuck"`) {
			t.Error(out)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Error("a scrape took", took)
		}
		begun = time.Now()
		if text(t, s, everything); time.Since(begun) > 0 {
			t.Error("those that hang are waited for again, for", time.Since(begun))
		}
		time.Sleep(9 * time.Second)
		if out := text(t, s, everything); !strings.Contains(out, `name="last"`) {
			t.Error("those behind the ones that hang are never read")
		}
		for _, m := range stuck {
			if m.reads.Load() > 1 {
				t.Fatal("one that hangs is asked again")
			}
		}
		close(hang)
		synctest.Wait()
	})
}

// TestRefresh has scrapes answered from memory for as long as there are some.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &meter{first: func() error { time.Sleep(time.Second); return nil }}
		s := service(one("slow", slow))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Refresh(ctx)
		time.Sleep(time.Minute)
		if slow.reads.Load() != 0 {
			t.Fatal("read though nobody asked")
		}
		text(t, s, everything)
		for range 20 {
			time.Sleep(9500 * time.Millisecond)
			begun := time.Now()
			if out := text(t, s, everything); !strings.Contains(out, `name="slow"`) || time.Since(begun) > 0 {
				t.Fatalf("a scrape took %s", time.Since(begun))
			}
		}
		time.Sleep(6 * time.Minute)
		last := slow.reads.Load()
		if time.Sleep(time.Hour); slow.reads.Load() != last {
			t.Error("read though nobody asks any more")
		}
	})
}

// TestLint is what "promtool check metrics" says: nothing but that some published names and types are not as its authors would have them.
func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(strings.TrimSuffix(text(t, service(one("c1", &meter{})), everything), "# EOF\n"))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	published := []string{
		`non-counter metrics should not have "_total" suffix: lxd_cpu_effective_total`,
		`non-counter metrics should not have "_total" suffix: lxd_procs_total`,
		`counter metrics should have "_total" suffix: lxd_uptime_seconds`,
	}
	for _, p := range problems {
		said := p.Text + ": " + p.Metric
		if i := slices.Index(published, said); i >= 0 {
			published = slices.Delete(published, i, i+1)
			continue
		}
		if p.Text == "metric names should be written in 'snake_case' not 'camelCase'" && strings.HasPrefix(p.Metric, "lxd_memory_") {
			continue
		}
		t.Error(said)
	}
	if len(published) > 0 {
		t.Error("not said any more:", published)
	}
}

func TestOneThatFailsIsLeftOut(t *testing.T) {
	m := &meter{first: func() error { return errors.New("ended") }}
	if out := text(t, service(one("c1", m)), everything); strings.Contains(out, `name="c1"`) || !strings.Contains(out, "lxd_warnings_total 4") {
		t.Error(out)
	}
}
