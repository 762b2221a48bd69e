package lxc

import (
	"strings"

	"lxd/internal/machine"
)

// dangerous is what no container may do, whatever its capabilities: loading kernels and modules, opening files by handle past all mounts,
// and forced unmounting of what the host may be using.
const dangerous = `%s
reject_force_umount
kexec_load errno 38
open_by_handle_at errno 38
init_module errno 38
finit_module errno 38
delete_module errno 38
`

// Sections of a policy: rules for all architectures that the CPU has, or for the one that the kernel is of. Calls of one that a policy
// has no section for end the program.
const (
	everywhere = "[all]"
	nativeOnly = "[" + native + "]"
)

// defaultPolicy is the policy of a machine that asks for no other.
var defaultPolicy = "2\ndenylist\n" + strings.Replace(dangerous, "%s", everywhere, 1)

// policy is what the system calls of a machine go through.
type policy struct {
	// text is in liblxc's language, filter the kernel's program.
	text   string
	filter []byte
	// native says that programs of the kernel's own architecture may run, and no others.
	native bool
}

// Policy writes what a machine may call of the kernel, in liblxc's language. It fails with Invalid on what is not of that language.
func Policy(want machine.Syscalls) (string, error) {
	if want.Policy != "" {
		return strings.TrimRight(want.Policy, "\n") + "\n", nil
	}
	if err := machine.CheckRules(want.Allow + "\n" + want.Deny); err != nil {
		return "", err
	}
	section := everywhere
	if want.NoCompat {
		section = nativeOnly
	}
	if want.Allow != "" {
		return "2\nallowlist\n" + section + "\n" + lines(want.Allow), nil
	}
	usual := section + "\n"
	if !want.NoDefault {
		usual = strings.Replace(dangerous, "%s", section, 1)
	}
	return "2\ndenylist\n" + usual + lines(want.Deny), nil
}

// lines are rules without comments and blanks.
func lines(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
