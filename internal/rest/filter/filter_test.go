package filter_test

import (
	"strings"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/rest/filter"
)

type inner struct {
	Pid  int64  `yaml:"pid"`
	Load uint8  `yaml:"load"`
	Part string `yaml:"part"`
}

type base struct {
	Description string `yaml:"description"`
}

type thing struct {
	base     `yaml:",inline"`
	*pointed `yaml:",inline"`
	Name     string                       `json:"Name" yaml:"name"`
	Status   string                       `yaml:"status"`
	Public   bool                         `yaml:"public"`
	Config   map[string]string            `yaml:"config"`
	Devices  map[string]map[string]string `yaml:"devices"`
	Any      map[string]any               `yaml:"any"`
	Profiles []string                     `yaml:"profiles"`
	State    *inner                       `yaml:"state"`
	Created  time.Time                    `yaml:"created_at"`
	Ratio    float64                      `yaml:"ratio"`
	Bare     string
}

type pointed struct {
	Deep string `yaml:"deep"`
}

func example() thing {
	return thing{
		base: base{"a nice thing"}, Name: "web1", Status: "Running", Public: true,
		Config:   map[string]string{"limits.cpu": "2", "image.os": "Debian"},
		Devices:  map[string]map[string]string{"eth0": {"type": "nic"}, "eth0.100": {"type": "vlan"}},
		Any:      map[string]any{"n": 3, "s": "x"},
		Profiles: []string{"default", "web"}, State: &inner{Pid: 42, Load: 7}, Ratio: 0.5, Bare: "b",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestMatch(t *testing.T) {
	for text, want := range map[string]bool{
		"name eq web1":                            true,
		"name eq WEB1":                            true,
		"name eq web":                             false, // anchored
		"name eq ^web":                            true,  // anchors of one's own
		"name eq web.*":                           true,
		"name eq a|web1":                          true,
		"name ne web1":                            false,
		"not name eq web1":                        false,
		"not name ne web1":                        true,
		"status eq running and name eq x":         false,
		"status eq running or name eq x":          true,
		`description eq "a nice thing"`:           true,
		`description eq "a  nice thing"`:          true, // spaces are separators
		"public eq true":                          true,
		"public eq no":                            false,
		"config.limits.cpu eq 2":                  true,
		"config.limits.memory eq 2":               false,
		"config.limits.memory ne 2":               true,
		"devices.eth0.type eq nic":                true,
		"devices.eth0.100.type eq vlan":           true,
		"devices.eth1.type eq nic":                false,
		"any.n eq 3":                              true,
		"any.s eq X":                              true,
		`profiles eq ["default","web"]`:           true,
		`profiles eq ["web","default"]`:           false,
		`profiles ne ["default"]`:                 true,
		"state.pid eq 42":                         true,
		"state.pid ne 43":                         true,
		"state.load eq 7":                         true,
		"ratio eq 0.5":                            true,
		"bare eq b":                               true,
		"deep eq x":                               false, // inside a nil pointer
		"created_at eq 2026-01-02T03:04:05Z":      true,
		"name eq web1 or name eq x and name eq y": false, // left to right, no precedence
		"name eq x and name eq y or name eq web1": true,
	} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, v := range []any{example(), new(example())} {
			if got, err := f.Match(v); err != nil || got != want {
				t.Errorf("%s on %T = %v, %v", text, v, got, err)
			}
		}
	}
}

func TestMatchFails(t *testing.T) {
	for text, say := range map[string]string{
		"nope eq 1":           `"nope"`,
		"name.x eq 1":         `"name.x"`,
		"public eq maybe":     "true or false",
		"state.pid eq abc":    "a number",
		"state.load eq -1":    "a number",
		"ratio eq x":          "a number",
		"profiles eq default": "JSON array",
		"state eq 1":          "name one inside",
		"name eq (":           `"("`,
	} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := f.Match(example()); !errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, say := range map[string]string{
		"name":                         "ends early",
		"name eq":                      "ends early",
		"not":                          "ends early",
		"name is x":                    `"is"`,
		"name eq x name eq y":          `"name"`,
		"name eq x and":                "ends early",
		`name eq "x"`:                  "no quotes",
		`name eq "x y`:                 "never closed",
		`name eq "`:                    "never closed",
		"name eq " + long(2000):        "longer",
		"name eq x and " + long(10000): "longer",
	} {
		f, err := filter.Parse(text)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%.40s: %v %v", text, f, err)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestNoFilter(t *testing.T) {
	if f, err := filter.Parse("  "); f != nil || err != nil {
		t.Error(f, err)
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"name eq web1", `not description eq "a b" or config.limits.cpu ne 2`, `profiles eq ["a"]`, "a eq (", `"`, "any.n eq 3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := filter.Parse(text)
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("%q: kind %v", text, errs.KindOf(err))
			}
			return
		}
		if p == nil {
			return
		}
		if _, err := p.Match(example()); err != nil && !errs.Is(err, errs.Internal) {
			t.Fatalf("%q: kind %v", text, errs.KindOf(err))
		}
	})
}
