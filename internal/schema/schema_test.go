package schema_test

import (
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/schema"
)

func table() *schema.Schema {
	return schema.New("instance",
		schema.Key{Name: "limits.memory", Type: schema.Size, Default: "1GiB", Short: "Memory"},
		schema.Key{Name: "boot.autostart", Type: schema.Bool, Short: "Start with the daemon"},
		schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free"},
		schema.Key{Name: "volatile.<name>.hwaddr", Type: schema.MAC, Short: "MAC address"},
	)
}

func TestValidateNamesEveryBadKey(t *testing.T) {
	err := table().Validate(map[string]string{
		"bogus": "1", "boot.autostart": "maybe", "limits.memory": "x", "user.a": "line\nline",
		"user.": "x", "volatile.eth0.hwaddr": "00:16:3e:00:00:01", "volatile..hwaddr": "x",
	})
	if !errs.Is(err, errs.Invalid) {
		t.Fatal(err)
	}
	for _, want := range []string{`"bogus"`, `"boot.autostart"`, `"limits.memory"`, `"user."`, `"volatile..hwaddr"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "user.a") || strings.Contains(err.Error(), "eth0") || strings.Contains(err.Error(), "\n") {
		t.Errorf("good keys named, or more than a line: %v", err)
	}
}

func TestGetFallsBackToDefault(t *testing.T) {
	s := table()
	if got := s.Get(nil, "limits.memory"); got != "1GiB" {
		t.Error(got)
	}
	if got := s.Get(map[string]string{"limits.memory": "2GB"}, "limits.memory"); got != "2GB" {
		t.Error(got)
	}
	if s.Bool(nil, "boot.autostart") || !s.Bool(map[string]string{"boot.autostart": "Yes"}, "boot.autostart") {
		t.Error("booleans")
	}
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		typ       schema.Type
		good, bad string
	}{
		{schema.String, "a b", "a\nb"},
		{schema.Bool, "ON", "maybe"},
		{schema.Integer, "-4", "4.5"},
		{schema.Size, "10 GiB", "10 apples"},
		{schema.Size, "7EiB", "9EiB"},
		{schema.Duration, "5m", "5"},
		{schema.MAC, "00:16:3e:00:00:01", "00:16"},
		{schema.IP, "fd42::1", "10.0.0.0/8"},
		{schema.OneOf("a", "b"), "b", "c"},
		{schema.Between(1, 5), "5", "6"},
	} {
		if err := c.typ.OK(c.good); err != nil {
			t.Errorf("%s %q: %v", c.typ.Name, c.good, err)
		}
		if c.typ.OK(c.bad) == nil {
			t.Errorf("%s takes %q", c.typ.Name, c.bad)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1kB": 1000, "1KiB": 1024, "2GB": 2e9, "3MiB": 3 << 20} {
		if got, err := schema.ParseSize(in); err != nil || got != want {
			t.Errorf("%s = %d, %v", in, got, err)
		}
	}
}

func TestMalformedTablePanics(t *testing.T) {
	for name, keys := range map[string][]schema.Key{
		"twice":    {{Name: "a", Type: schema.Bool, Short: "a"}, {Name: "a", Type: schema.Bool, Short: "a"}},
		"no short": {{Name: "a", Type: schema.Bool}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			schema.New("x", keys...)
		}()
	}
}
