package lxc_test

import (
	"strings"
	"testing"

	"lxd/internal/driver/machine/lxc"
	"lxd/internal/errs"
	"lxd/internal/machine"
)

func TestPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		want    machine.Syscalls
		has     []string
		without []string
	}{
		"usual":      {machine.Syscalls{}, []string{"2\ndenylist\n", "[all]\n", "kexec_load errno 38\n"}, nil},
		"no default": {machine.Syscalls{NoDefault: true, Deny: "mknod errno 0\n# not this\n  mknodat errno 0"}, []string{"2\ndenylist\n[all]\nmknod errno 0\nmknodat errno 0\n"}, []string{"kexec", "#"}},
		"native":     {machine.Syscalls{NoCompat: true}, []string{"kexec_load"}, []string{"[all]"}},
		"allow":      {machine.Syscalls{Allow: "read\nwrite"}, []string{"2\nallowlist\n[all]\nread\nwrite\n"}, []string{"kexec"}},
		"whole":      {machine.Syscalls{Policy: "2\nallowlist errno 1\n[all]\nread", Deny: "write"}, []string{"2\nallowlist errno 1\n[all]\nread\n"}, []string{"write"}},
	} {
		got, err := lxc.Policy(c.want)
		if err != nil {
			t.Error(name, err)
		}
		for _, s := range c.has {
			if !strings.Contains(got, s) {
				t.Errorf("%s lacks %q: %s", name, s, got)
			}
		}
		for _, s := range c.without {
			if strings.Contains(got, s) {
				t.Errorf("%s has %q: %s", name, s, got)
			}
		}
	}
	if _, err := lxc.Policy(machine.Syscalls{Deny: "x; y"}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
