package machine

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"lxd/internal/errs"
)

// rlimits are the limits of processes that there are, with their numbers in the kernel.
var rlimits = map[string]int{
	"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8, "as": 9, "locks": 10,
	"sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}

// RlimitNumber is the kernel's number of a limit of processes.
func RlimitNumber(name string) (int, bool) {
	n, ok := rlimits[name]
	return n, ok
}

// RlimitNames lists the limits of processes that there are, in order.
func RlimitNames() []string { return slices.Sorted(maps.Keys(rlimits)) }

// rule is one line of a policy about system calls: a name, what is done, and what its arguments must be for that.
var rule = regexp.MustCompile(`^[a-z0-9_]{1,64}( (errno \d{1,4}|kill|allow|trap|log))?( ?(\[[0-9]+,[0-9xa-fA-F]+,[A-Z_]+(,[0-9xa-fA-F]+)?\] ?)+)?$`)

// CheckRules fails with Invalid unless text is rules about system calls, one a line.
func CheckRules(text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line != "reject_force_umount" && !rule.MatchString(line) {
			return errs.Newf(errs.Invalid, "%q is not a rule such as \"mount\" or \"mount errno 1\"", line)
		}
	}
	return nil
}

// RawLine is one line of liblxc's configuration language.
type RawLine struct{ Key, Value string }

// ParseRaw reads lines that an administrator wrote in liblxc's own language. It fails with Invalid on what is no such line, and on keys
// that would break what the server relies on.
func ParseRaw(text string) (lines []RawLine, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		switch {
		case key == "" && !ok, strings.HasPrefix(key, "#"):
			continue
		case !ok || strings.IndexFunc(key, notKey) >= 0 || !strings.HasPrefix(key, "lxc."):
			return nil, errs.Newf(errs.Invalid, "the line %q of raw.lxc is not of the form \"lxc.key = value\"", line)
		case slices.ContainsFunc(reserved, func(r string) bool { return key == r || strings.HasSuffix(r, ".") && strings.HasPrefix(key, r) }):
			return nil, errs.Newf(errs.Invalid, "raw.lxc must not set %s: the server needs it for itself", key)
		}
		lines = append(lines, RawLine{key, strings.TrimSpace(value)})
	}
	return lines, nil
}

// reserved are the keys by which raw.lxc would break what drivers rely on; those with a dot at the end are families.
var reserved = []string{
	"lxc.log.", "lxc.cgroup.dir.", "lxc.syslog", "lxc.ephemeral", "lxc.include", "lxc.rootfs.", "lxc.idmap", "lxc.uts.name",
	"lxc.hook.start-host", "lxc.seccomp.profile", "lxc.console.logfile", "lxc.monitor.", "lxc.net.",
}

func notKey(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
}
