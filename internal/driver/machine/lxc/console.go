package lxc

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"lxd/internal/errs"
	"lxd/internal/host/run"
)

// console is the opened console: the terminal, and what keeps it reserved with the monitor.
type console struct {
	*os.File
	reserved *os.File
	once     sync.Once
	err      error
}

// Close lets the console go; closing again is no error.
func (c *console) Close() error {
	c.once.Do(func() { c.err = errors.Join(c.File.Close(), c.reserved.Close()) })
	return c.err
}

// Console opens the console and ends an earlier opening.
func (c *container) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	if c.over() {
		return nil, errs.Newf(errs.Unavailable, "machine %s does not run", c.handle.ID)
	}
	c.consoleLock.Lock()
	defer c.consoleLock.Unlock()
	if c.console != nil {
		if err := c.console.Close(); err != nil {
			return nil, err
		}
		c.console = nil
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	ctx, cancel := context.WithTimeout(ctx, execTime)
	defer cancel()
	_, err = run.Output(ctx, run.Call{
		Path: c.driver.program(), Args: []string{"console", c.handle.ID, c.handle.RunDir}, Files: []*os.File{theirs},
	})
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nil, err
	}
	_, fds, err := receive(ours)
	if err != nil {
		return nil, err
	}
	if len(fds) != 2 {
		return nil, errors.Join(errors.New("the container helper sent no console"), closeAll(fds))
	}
	c.console = &console{File: fds[0], reserved: fds[1]}
	return c.console, nil
}

// ConsoleLog reads what the console has shown; liblxc keeps the file small.
func (c *container) ConsoleLog(context.Context) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(c.handle.RunDir, logLink, "console.log"))
	return b, gone(err)
}
