package lxc

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// What becomes of a system call, after the kernel's linux/seccomp.h.
const (
	actKill  = 0x80000000
	actTrap  = 0x00030000
	actErrno = 0x00050000
	actLog   = 0x7ffc0000
	actAllow = 0x7fff0000
)

// comparisons are libseccomp's, by their names without "SCMP_CMP_".
var comparisons = map[string]int{"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}

// digest turns a policy of liblxc's version 2 into what the helper compiles: all names but those of system calls become numbers. Rules of
// sections for one architecture other than the kernel's are left out; native says that there are none but its own. It fails with Invalid on what is no policy.
func digest(policy string) (rules string, native bool, err error) {
	lines := strings.Split(policy, "\n")
	if len(lines) < 2 || strings.TrimSpace(lines[0]) != "2" {
		return "", false, errs.Newf(errs.Invalid, "the policy's first line is not its version, 2")
	}
	usual, fallback, err := defaults(lines[1])
	if err != nil {
		return "", false, err
	}
	var out strings.Builder
	mine, sections, compat := true, 0, 0
	for _, line := range lines[2:] {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			sections++
			mine = line == everywhere || line == nativeOnly
			if line != nativeOnly {
				compat = 1
			}
		case mine:
			text, err := rule(line, usual)
			if err != nil {
				return "", false, err
			}
			out.WriteString(text + "\n")
		}
	}
	if sections == 0 {
		compat = 1
	}
	return fmt.Sprintf("%d %d\n%s", fallback, compat, out.String()), compat == 0, nil
}

// defaults reads what becomes of calls that a policy names without saying what, and of those that it does not name.
func defaults(line string) (usual, fallback uint64, err error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch kind {
	case "denylist", "blacklist":
		return actKill, actAllow, nil
	case "allowlist", "whitelist":
		fallback, rest, err = action(rest, actKill)
		if err == nil && rest == "" {
			return actAllow, fallback, nil
		}
	}
	return 0, 0, errs.Newf(errs.Invalid, "the policy's second line is %q, and not denylist, allowlist or \"allowlist errno 1\"", line)
}

// rule digests one line.
func rule(line string, usual uint64) (string, error) {
	if line == "reject_force_umount" { // by the flag that forces, in the second argument
		return fmt.Sprintf("umount2 %d 1 %d %d %d", actErrno|int(unix.EACCES), comparisons["MASKED_EQ"], unix.MNT_FORCE, unix.MNT_FORCE), nil
	}
	name, rest, _ := strings.Cut(line, " ")
	act, rest, err := action(rest, usual)
	if err != nil {
		return "", errs.Newf(errs.Invalid, "the rule %q: %w", line, err)
	}
	text := fmt.Sprintf("%s %d", name, act)
	for rest != "" {
		condition, more, ok := strings.Cut(rest, "]")
		numbers, err := comparison(strings.TrimPrefix(condition, "["))
		if !ok || err != nil {
			return "", errs.Newf(errs.Invalid, "the rule %q: its condition %q is not of the form [INDEX,VALUE,SCMP_CMP_EQ]", line, condition)
		}
		text, rest = text+" "+numbers, strings.TrimSpace(more)
	}
	return text, nil
}

// action reads what becomes of a call, and returns what follows.
func action(text string, usual uint64) (act uint64, rest string, err error) {
	text = strings.TrimSpace(text)
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "kill":
		return actKill, rest, nil
	case "trap":
		return actTrap, rest, nil
	case "log":
		return actLog, rest, nil
	case "allow":
		return actAllow, rest, nil
	case "errno":
		number, rest, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseUint(number, 10, 12)
		return actErrno | n, strings.TrimSpace(rest), err
	}
	if text == "" || text[0] == '[' {
		return usual, text, nil
	}
	return 0, "", fmt.Errorf("%q is not one of errno N, kill, trap, log and allow", word)
}

// comparison digests "INDEX,VALUE,SCMP_CMP_EQ", and with a mask behind.
func comparison(text string) (string, error) {
	f := strings.Split(text, ",")
	if len(f) < 3 || len(f) > 4 {
		return "", errs.Newf(errs.Invalid, "it has %d parts", len(f))
	}
	index, err := strconv.ParseUint(f[0], 10, 3)
	op, ok := comparisons[strings.TrimPrefix(f[2], "SCMP_CMP_")]
	if err != nil || index > 5 || !ok {
		return "", errs.Newf(errs.Invalid, "there is no such argument or comparison")
	}
	value, err := strconv.ParseUint(f[1], 0, 64)
	if err != nil {
		return "", err
	}
	mask := uint64(0)
	if len(f) == 4 {
		if mask, err = strconv.ParseUint(f[3], 0, 64); err != nil {
			return "", err
		}
	}
	if op == comparisons["MASKED_EQ"] { // libseccomp has the mask first
		value, mask = mask, value
	}
	return fmt.Sprintf("%d %d %d %d", index, op, value, mask), nil
}
