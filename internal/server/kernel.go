package server

import (
	"errors"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// kernelFeatures tells which abilities the kernel has that containers gain from (wire names). They do not change while it runs.
var kernelFeatures = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for name, has := range map[string]bool{
		"idmapped_mounts":           knows(func() error { return unix.MountSetattr(-1, "", 0, &unix.MountAttr{}) }),
		"netnsid_getifaddrs":        since(4, 20),
		"seccomp_listener":          since(5, 0),
		"seccomp_listener_continue": since(5, 5),
		"uevent_injection":          since(4, 18),
		"unpriv_binfmt":             since(6, 7),
	} {
		out[name] = strconv.FormatBool(has)
	}
	return out
})

// knows tells whether the kernel has a system call, which is made in a way that cannot succeed.
func knows(call func() error) bool { return !errors.Is(call(), unix.ENOSYS) }

// since tells whether the kernel is of that version or a later one: some abilities cannot be asked for without an effect.
func since(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	a, rest := leading(unix.ByteSliceToString(u.Release[:]))
	b := 0
	if rest != "" {
		b, _ = leading(rest[1:])
	}
	return a > major || a == major && b >= minor
}

// leading is the number that s begins with, and what follows it.
func leading(s string) (n int, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, _ = strconv.Atoi(s[:i]) // 0 for none
	return n, s[i:]
}
