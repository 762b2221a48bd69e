package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// drain is how long the pipes of a killed program may stay open, held by a child of its own.
const drain = time.Second

// Call is a program whose end is waited for.
type Call struct {
	Path string
	Args []string
	// Env is the whole environment; nil means an empty one.
	Env []string
	// Stdin, Stdout and Stderr are handed over as they are; nil means /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Files become its descriptors 3 and following.
	Files []*os.File
}

// Output runs c in a session of its own and returns what it writes. A program that fails is an error with its last line of error
// output; one that is not done when ctx ends is killed.
func Output(ctx context.Context, c Call) ([]byte, error) {
	var out, errText bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	c.fill(cmd)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errText, drain
	err := cmd.Run()
	if ctx.Err() != nil {
		return out.Bytes(), fmt.Errorf("%s was ended: %w", c.Path, ctx.Err())
	}
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.Bytes(), fmt.Errorf("%s (%w)", lastLine(errText.String(), c.Path+" failed"), err)
	}
	return out.Bytes(), err
}

// Child is a program started by Spawn.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
	code int
}

// Spawn starts c in a session of its own. It runs on when nobody waits.
func Spawn(c Call) (*Child, error) {
	cmd := exec.Command(c.Path, c.Args...)
	c.fill(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	p := &Child{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the state says it all
		p.code = exitCode(cmd.ProcessState)
	}()
	return p, nil
}

// PID is the child's number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Wait returns the exit code, 128+n when signal n ended the program.
func (c *Child) Wait(ctx context.Context) (int, error) {
	select {
	case <-c.done:
		return c.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Kill ends the child at once; one that has ended is no error.
func (c *Child) Kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (c Call) fill(cmd *exec.Cmd) {
	cmd.Env = append([]string{}, c.Env...)
	cmd.ExtraFiles = c.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// a nil *os.File must not become a reader that is not nil
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	}
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
}

func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

func lastLine(text, fallback string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return fallback
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}
