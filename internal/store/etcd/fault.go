package etcd

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"lxd/internal/errs"
)

// fault is the end of a server that could not go on: its disk is full or broken. The library logs this as fatal, which would exit
// the daemon on the spot; here only the goroutine in question ends, and every later call says what happened.
type fault struct {
	once     sync.Once
	happened chan struct{}
	err      error // set before happened is closed
}

func newFault() *fault { return &fault{happened: make(chan struct{})} }

// logger drops messages, and catches those that would exit.
func (f *fault) logger() *zap.Logger {
	return zap.New(zapcore.NewNopCore(), zap.WithFatalHook(f), zap.WithPanicHook(f))
}

// OnWrite is called with a message that the library does not mean to outlive.
func (f *fault) OnWrite(ce *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.once.Do(func() {
		f.err = reason(ce.Message, fields)
		close(f.happened)
	})
	runtime.Goexit()
}

func reason(message string, fields []zapcore.Field) error {
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
			return fmt.Errorf("%s: %w", message, err)
		}
	}
	return errors.New(message)
}

func (f *fault) hit() bool {
	select {
	case <-f.happened:
		return true
	default:
		return false
	}
}

// failed is the error of a request that came after the fault, or that was under way.
func (f *fault) failed() error {
	return errs.Newf(errs.Unavailable, "the state database has stopped (%w): see that its disk has room and works, then start the server again", f.err)
}
