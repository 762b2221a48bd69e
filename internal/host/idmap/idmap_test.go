package idmap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/host/idmap"
)

func TestMapBothWays(t *testing.T) {
	m := idmap.Map{{Host: 1000000, Inside: 0, Size: 1000}, {Host: 5, Inside: 1000, Size: 1}, {Host: 1001001, Inside: 1001, Size: 100}}
	for inside, host := range map[int64]int64{0: 1000000, 999: 1000999, 1000: 5, 1001: 1001001, 1101: -1, -1: -1} {
		got, ok := m.Host(inside)
		if ok != (host >= 0) || ok && got != host {
			t.Errorf("%d is %d, %v outside; want %d", inside, got, ok, host)
		}
		if back, ok := m.Inside(got); host >= 0 && (!ok || back != inside) {
			t.Errorf("%d came back as %d, %v", inside, back, ok)
		}
	}
	if got, ok := (idmap.Map{}).Host(77); !ok || got != 77 {
		t.Errorf("the empty map gives %d, %v", got, ok)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		m  idmap.Map
		ok bool
	}{
		"default":        {idmap.Default(), true},
		"empty":          {nil, true},
		"no ids":         {idmap.Map{{Host: 1}}, false},
		"negative":       {idmap.Map{{Host: -1, Size: 5}}, false},
		"beyond":         {idmap.Map{{Host: 1 << 32, Size: 5}}, false},
		"overlap host":   {idmap.Map{{Host: 0, Inside: 0, Size: 5}, {Host: 4, Inside: 10, Size: 5}}, false},
		"overlap inside": {idmap.Map{{Host: 0, Inside: 0, Size: 5}, {Host: 10, Inside: 4, Size: 5}}, false},
		"two":            {idmap.Map{{Host: 0, Inside: 0, Size: 5}, {Host: 5, Inside: 5, Size: 5}}, true},
	} {
		if err := c.m.Validate(); (err == nil) != c.ok || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSteps moves ids along the steps, and each step twice, as after a crash.
func TestSteps(t *testing.T) {
	whole := idmap.Default()
	for name, c := range map[string]struct {
		from, to idmap.Map
		steps    int
	}{
		"same":               {whole, whole, 0},
		"apart":              {whole, idmap.Map{{Host: 2000000000, Size: 65536}}, 1},
		"into the old range": {whole, idmap.Map{{Host: 1065536, Size: 65536}}, 1},
		"overlapping":        {idmap.Map{{Host: 1000000, Size: 65536}}, idmap.Map{{Host: 1000100, Size: 65536}}, 2},
		"to the host's own":  {whole, nil, 2},
		"from the host's":    {nil, whole, 2},
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := c.from.Steps(c.to)
			if err != nil || len(steps) != c.steps {
				t.Fatalf("steps %v, %v; want %d", steps, err, c.steps)
			}
			for _, inside := range []int64{0, 1, 100, 1000, 65535} {
				host, _ := c.from.Host(inside)
				at, id := c.from, uint32(host)
				for _, next := range steps {
					for range 2 {
						if id, err = at.Shift(next)(id); err != nil {
							t.Fatal(err)
						}
					}
					at = next
				}
				if want, _ := c.to.Host(inside); int64(id) != want {
					t.Errorf("%d ended as %d, want %d", inside, id, want)
				}
			}
		})
	}
	if _, err := whole.Shift(idmap.Map{{Host: 1065536, Size: 65536}})(1900000); !errs.Is(err, errs.Invalid) {
		t.Errorf("an id without a place: %v", err)
	}
}

func TestHost(t *testing.T) {
	const all = "0 0 4294967295\n"
	for name, c := range map[string]struct{ uid, gid, own, want string }{
		"root":                     {"root:200000:65536\n", "root:200000:65536\n", all, "[0→200000+65536]"},
		"number":                   {"joe:1:5\n0:300000:100000\n", "root:300000:70000\n", all, "[0→300000+70000]"},
		"largest":                  {"root:200000:65536\nroot:1000000:1000000000\n", "root:1000000:1000000000\n", all, "[0→1000000+1000000000]"},
		"nobody":                   {"joe:100000:65536\n", "joe:100000:65536\n", all, "[0→1000000+1000000000]"},
		"too small":                {"root:100000:5\n", "root:100000:5\n", all, "[0→1000000+1000000000]"},
		"missing":                  {"", "-", all, "[0→1000000+1000000000]"},
		"damaged":                  {"root:x:5\n", "", all, "error"},
		"out of range":             {"root:4294967000:65536\n", "root:4294967000:65536\n", all, "[0→1000000+1000000000]"},
		"in a container":           {"-", "-", "         0    1000000 1000000000\n", "[0→1000000+999000000]"},
		"in a small one":           {"-", "-", "0 100000 200000\n", "[0→65536+134464]"},
		"reserved, in a container": {"root:100000:65536\nroot:1000000:1000000000\n", "root:100000:65536\n", "0 100000 10000001\n", "[0→100000+65536]"},
		"reserved but not there":   {"root:500000:65536\n", "root:500000:65536\n", "0 100000 200000\n", "[0→65536+134464]"},
		"two parts":                {"-", "-", "0 100000 1000\n1000 1000 1\n1001 101001 5000000\n", "[0→1000000+4001001]"},
		"none left":                {"-", "-", "0 100000 65536\n", "error"},
		"odd":                      {"-", "-", "x\n", "error"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"subuid": c.uid, "subgid": c.gid, "uid_map": c.own, "gid_map": c.own} {
				if text == "-" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := idmap.Host(dir, dir)
			if (err != nil) != (c.want == "error") || err == nil && fmt.Sprint(got) != c.want {
				t.Errorf("%v, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: user namespaces with a map")
	}
	var n idmap.Namespaces
	defer n.Close()
	a, err := n.Get(idmap.Default())
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := n.Get(idmap.Default()); a != b {
		t.Error("made twice")
	}
	own, _ := os.Readlink("/proc/self/ns/user")
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", a.Fd()))
	if err != nil || link == own || !strings.HasPrefix(link, "user:") {
		t.Errorf("%s, %v", link, err)
	}
	if _, err := n.Get(idmap.Map{{Host: 1, Size: 1 << 40}}); !errs.Is(err, errs.Invalid) {
		t.Errorf("bad map: %v", err)
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if strings.TrimSpace(string(children)) != "" {
		t.Errorf("processes left: %s", children)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("root:1000000:1000000000\n0:1:2\n")
	f.Add("root:::\n\x00")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := idmap.Parse(strings.NewReader(s))
		if err != nil && all != nil {
			t.Errorf("both %v and %v", all, err)
		}
	})
}
