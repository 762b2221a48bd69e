package config

import (
	"lxd/internal/errs"
)

// Check fails with Invalid on keys that each may be what they are, but not together. It is for a configuration with that of its profiles.
func Check(keys map[string]string) error {
	for _, k := range []string{"security.syscalls.deny", "security.syscalls.deny_compat"} {
		if keys["security.syscalls.allow"] != "" && keys[k] != "" {
			return errs.Newf(errs.Invalid, "security.syscalls.allow refuses all other system calls: unset %s", k)
		}
	}
	return nil
}
