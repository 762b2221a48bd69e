package template

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/run"
)

// Command is the argument by which the daemon's program is run to render templates.
const Command = "render-templates"

// Bounds of the process that renders: its time as the caller measures it and as the kernel does, and its memory.
const (
	renderTime = 10 * time.Second
	cpuSeconds = 2
	memory     = 256 << 20
)

// Process renders jobs, each in a process of its own.
type Process struct {
	// Program is run with Command as its only argument, which it must hand to Main.
	Program string
}

// Render renders all templates of a job. What is wrong with them is Invalid.
func (p Process) Render(ctx context.Context, j Job) (results []string, err error) {
	b, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("templates", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	in := os.NewFile(uintptr(fd), "templates")
	defer in.Close()
	if _, err := in.Write(b); err != nil {
		return nil, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, renderTime)
	defer cancel()
	out, err := run.Output(ctx, run.Call{Path: p.Program, Args: []string{Command}, Stdin: in})
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "the templates of the instance cannot be rendered: %w; see `lxc config template`", err)
	}
	if err := json.Unmarshal(out, &results); err != nil || len(results) != len(j.Items) {
		return nil, errs.Newf(errs.Internal, "the process that renders templates answered %d of %d: %w", len(results), len(j.Items), err)
	}
	return results, nil
}

// Main is what that process does: it limits itself, reads a job and writes the results.
func Main(in io.Reader, out io.Writer) error {
	limits := map[int]uint64{unix.RLIMIT_CPU: cpuSeconds, unix.RLIMIT_DATA: memory, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_CORE: 0, unix.RLIMIT_NPROC: 0}
	for what, n := range limits {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	var j Job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return err
	}
	results, err := Render(j)
	if err != nil {
		return err
	}
	b, err := json.Marshal(results)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// Here renders in this process: for tests of what is above, with templates that can be trusted.
type Here struct{}

// Render renders all templates of a job.
func (Here) Render(_ context.Context, j Job) ([]string, error) {
	results, err := Render(j)
	if err != nil {
		err = errors.Join(errs.Newf(errs.Invalid, "the templates of the instance cannot be rendered: %w", err))
	}
	return results, err
}
