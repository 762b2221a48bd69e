package config_test

import (
	"os"
	"strings"
	"testing"

	"lxd/internal/instance/config"
)

// Every key of the table of facts is known, with its default, and whether it may change while the instance runs.
func TestKeysAreComplete(t *testing.T) {
	b, err := os.ReadFile("../../../spec/config.tsv")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, k := range config.Keys.Keys() {
		known[k.Name] = true
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if f[0] != "instance" || f[1] == "instance-conf" {
			continue
		}
		n++
		name := strings.ReplaceAll(f[2], "KEYNAME", "*")
		if !known[name] {
			t.Errorf("key %s is missing", name)
			continue
		}
		k, _ := config.Keys.Lookup(strings.NewReplacer("<name>", "eth0", "*", "x").Replace(name))
		if want := strings.Split(f[4], " | ")[0]; want != "" && k.Default != want {
			t.Errorf("default of %s is %q, not %q", name, k.Default, want)
		}
	}
	if n < 125 {
		t.Error("only", n, "keys in the table")
	}
}

func TestValues(t *testing.T) {
	good := map[string][]string{
		"limits.cpu":           {"1", "4", "0-3", "1,5", "0-1,4"},
		"limits.cpu.allowance": {"50%", "100%", "25ms/100ms"},
		"limits.memory":        {"512MiB", "1GB", "50%"},
		"limits.processes":     {"1", "500"},
		"snapshots.expiry":     {"1M 2H 3d", "4w"},
		"user.any":             {"line\nline"},
		"cloud-init.user-data": {"#cloud-config\na: b"},
		"security.devlxd":      {"false"},
		"environment.A":        {"b c"},
		"volatile.eth0.hwaddr": {"00:16:3e:00:00:01"},
	}
	bad := map[string][]string{
		"limits.cpu":                     {"0", "-1", "x", "3-1", "1,", "0-99999", "1-2-3"},
		"limits.cpu.allowance":           {"0%", "101%", "50", "25ms", "0ms/100ms", "5s/10s"},
		"limits.memory":                  {"0", "-5", "200%", "many"},
		"limits.processes":               {"0", "x"},
		"snapshots.expiry":               {"1x", "d"},
		"environment.A":                  {"a\nlxc.init.cmd = /bin/evil", "a\rb", "a\x00b"},
		"security.syscalls.deny_default": {"false"},
		"raw.lxc":                        {"lxc.cap.drop ="},
		"nvidia.runtime":                 {"true"},
		"volatile.eth0.hwaddr":           {"00:16:3e"},
		"bogus":                          {"x"},
		"environment.":                   {"x"},
	}
	for key, values := range good {
		for _, v := range values {
			if err := config.Keys.Validate(map[string]string{key: v}); err != nil {
				t.Error(err)
			}
		}
	}
	for key, values := range bad {
		for _, v := range values {
			if err := config.Keys.Validate(map[string]string{key: v}); err == nil {
				t.Errorf("%s = %q is accepted", key, v)
			}
		}
	}
}
