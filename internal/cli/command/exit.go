package command

import (
	"fmt"
)

// ExitCode ends lxc with the code of a command in an instance, and says nothing.
type ExitCode int

func (e ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Exited is an error that decides the exit code.
type Exited struct {
	// error is what is told.
	error
	// Code is the exit code of lxc.
	Code int
}

func (e *Exited) Unwrap() error { return e.error }

// Exit makes err end lxc with code.
func Exit(err error, code int) error { return &Exited{err, code} }
