// Package sshfs mounts what an SFTP connection shows, with the program of that name.
package sshfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// Program is what is run.
const Program = "sshfs"

// Installed tells whether the program is there.
func Installed() bool {
	_, err := exec.LookPath(Program)
	return err == nil
}

// Mount mounts the folder from, as conn shows it, at the folder to. It returns when the mount has ended; the end of ctx ends it.
func Mount(ctx context.Context, conn io.ReadWriteCloser, from, to string) error {
	cmd := exec.CommandContext(ctx, Program, "-f", "-o", "slave", "--", ":"+from, to)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running %s: %w", Program, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(conn, out) // either end of the connection ends the mount
		_ = conn.Close()
	}()
	_, _ = io.Copy(in, conn)
	_ = in.Close()
	<-done
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil
	}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%s could not mount at %s: it ended with code %d", Program, to, ended.ExitCode())
	}
	return err
}
