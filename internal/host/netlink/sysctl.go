package netlink

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"lxd/internal/errs"
)

// Sysctl names one setting below /proc/sys/net by its path elements, so that an interface name with a dot in it stays whole.
type Sysctl []string

// Get reads the setting of the calling thread's network namespace.
func (s Sysctl) Get() (string, error) {
	p, err := s.path()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(p)
	return strings.TrimSpace(string(b)), err
}

// Set writes the setting unless it has that value already.
func (s Sysctl) Set(value string) error {
	old, err := s.Get()
	if err != nil || old == value {
		return err
	}
	p, err := s.path()
	if err != nil {
		return err
	}
	if err := os.WriteFile(p, []byte(value), 0); err != nil {
		return fmt.Errorf("set net.%s to %s: %w", strings.Join(s, "."), value, err)
	}
	return nil
}

func (s Sysctl) path() (string, error) {
	for _, e := range s {
		if e == "" || e == "." || e == ".." || strings.ContainsRune(e, '/') {
			return "", errs.Newf(errs.Invalid, "%q is not a name of a kernel setting", e)
		}
	}
	return filepath.Join(append([]string{"/proc/sys/net"}, s...)...), nil
}
