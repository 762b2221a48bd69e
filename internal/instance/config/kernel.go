package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/machine"
	"lxd/internal/schema"
)

// CheckName fails with the reason why the free part of a key cannot be what it is: those of some families end up in the configuration of
// machines, or in paths.
func CheckName(key string) error {
	if err := schema.OneLine(key); err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(key, "environment."); ok && strings.ContainsAny(name, "= \t\"'\\") {
		return errors.New("blanks, quotes, = and control characters are not allowed in it")
	}
	if name, ok := strings.CutPrefix(key, "limits.kernel."); ok {
		if _, known := machine.RlimitNumber(name); !known {
			return fmt.Errorf("there is no such limit: it is one of %s", strings.Join(machine.RlimitNames(), ", "))
		}
	}
	if name, ok := strings.CutPrefix(key, "linux.sysctl."); ok && !sysctl.MatchString(name) {
		return errors.New("it is not the name of a kernel parameter, such as net.ipv4.ip_forward")
	}
	return nil
}

// sysctl is a dotted name; parts may hold slashes for dots, as in names of interfaces.
var sysctl = regexp.MustCompile(`^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_-]+)*$`)

var module = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_-]*$`)

func checkModules(v string) error {
	for _, name := range Modules(v) {
		if !module.MatchString(name) {
			return fmt.Errorf("%q is not the name of a kernel module", name)
		}
	}
	return nil
}

// Modules splits a list of kernel modules.
func Modules(list string) (names []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// checkRlimit accepts "1000", "500:1000" and "unlimited".
func checkRlimit(v string) error {
	soft, hard, both := strings.Cut(v, ":")
	if !both {
		hard = soft
	}
	low, err1 := rlimit(soft)
	high, err2 := rlimit(hard)
	if err1 != nil || err2 != nil {
		return errors.New("must be a number, \"unlimited\", or two of these as SOFT:HARD")
	}
	if low > high {
		return errors.New("the soft limit, which comes first, is above the hard one")
	}
	return nil
}

func rlimit(v string) (uint64, error) {
	if v == "unlimited" {
		return 1<<64 - 1, nil
	}
	return strconv.ParseUint(v, 10, 63)
}

func checkRaw(v string) error {
	lines, err := machine.ParseRaw(v)
	for _, l := range lines {
		err = errors.Join(err, schema.OneLine(l.Value))
	}
	return err
}

func checkRules(v string) error { return machine.CheckRules(v) }

// checkPolicy accepts a policy of version 2: its first line says so, its second what becomes of calls that have no rule.
func checkPolicy(v string) error {
	lines := strings.Split(strings.TrimRight(v, "\n"), "\n")
	kinds := []string{"denylist", "allowlist", "blacklist", "whitelist"}
	if len(lines) < 2 || strings.TrimSpace(lines[0]) != "2" || !slices.Contains(kinds, strings.Fields(lines[1] + " x")[0]) {
		return errors.New("it must begin with a line \"2\" and a line \"denylist\" or \"allowlist\"")
	}
	var rules []string
	for _, l := range lines[2:] {
		if l = strings.TrimSpace(l); !section.MatchString(l) {
			rules = append(rules, l)
		}
	}
	return machine.CheckRules(strings.Join(rules, "\n"))
}

// section begins the rules for one architecture.
var section = regexp.MustCompile(`^\[[a-z0-9_]+\]$`)

// Rlimits are the limits of processes that a configuration asks for.
func Rlimits(config map[string]string) map[string]string { return family(config, "limits.kernel.") }

// Sysctls are the kernel parameters that a configuration asks for.
func Sysctls(config map[string]string) map[string]string { return family(config, "linux.sysctl.") }

// Environment is the environment variables that a configuration asks for.
func Environment(config map[string]string) map[string]string {
	if env := family(config, "environment."); env != nil {
		return env
	}
	return map[string]string{}
}

// family is what a configuration has of a family of keys, by the free part; nil if it has none.
func family(config map[string]string, prefix string) (out map[string]string) {
	for k, v := range config {
		if name, ok := strings.CutPrefix(k, prefix); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = v
		}
	}
	return out
}

// Syscalls is what a configuration says about system calls.
func Syscalls(config map[string]string) machine.Syscalls {
	return machine.Syscalls{
		Policy: config["raw.seccomp"], Allow: config["security.syscalls.allow"], Deny: config["security.syscalls.deny"],
		NoDefault: !Keys.Bool(config, "security.syscalls.deny_default"), NoCompat: Keys.Bool(config, "security.syscalls.deny_compat"),
	}
}
