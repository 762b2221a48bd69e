package relay

import (
	"errors"
	"net"
	"syscall"
)

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
