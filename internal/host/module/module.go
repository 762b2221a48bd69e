// Package module loads kernel modules.
package module

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/run"
)

// Loader loads modules of the running kernel.
type Loader struct {
	// Loaded is the folder with one of each module that the kernel has: /sys/module but for tests.
	Loaded string
	// Modprobe is the program that loads one; "" looks for it where it usually is.
	Modprobe string
}

// Load makes the kernel have a module; one that is built in, or was loaded before, is no work. A name that could be anything else than a
// module's is Invalid, and a module that is not to be had Unavailable.
func (l Loader) Load(ctx context.Context, name string) error {
	if name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, "/.\x00 ") {
		return errs.Newf(errs.Invalid, "%q is not the name of a kernel module", name)
	}
	_, err := os.Stat(filepath.Join(l.Loaded, strings.ReplaceAll(name, "-", "_")))
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	program, err := l.program()
	if err != nil {
		return errs.Newf(errs.Unavailable, "the kernel has no module %s: %w", name, err)
	}
	if _, err := run.Output(ctx, run.Call{Path: program, Args: []string{"-b", "--", name}}); err != nil {
		return errs.Newf(errs.Unavailable, "cannot load the kernel module %s: %w; install it for the running kernel, or leave it out", name, err)
	}
	return nil
}

// program finds modprobe.
func (l Loader) program() (string, error) {
	places := []string{"/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe"}
	if l.Modprobe != "" {
		places = []string{l.Modprobe}
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("there is no modprobe on this host: install the package kmod, or load the modules at boot")
}
