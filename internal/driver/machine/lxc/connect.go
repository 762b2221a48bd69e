package lxc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// Verdicts that the helper waits for.
const (
	goOn   = "y"
	giveUp = "n"
)

// errNotAsked is the outcome for a container that was not about to run.
var errNotAsked = errors.New("the helper did not ask for network interfaces")

// connect waits until the helper says which process is in the new container's namespaces, has the plan's interfaces made there, and
// lets the helper go on or give up. Should this daemon die meanwhile, the helper sees the socket closed and gives up.
func connect(ctx context.Context, sock *net.UnixConn, make machine.Connect) error {
	msg, files, err := receive(sock)
	if errors.Is(err, io.EOF) || err == nil && msg == "" {
		return errNotAsked
	}
	if err := errors.Join(err, closeAll(files)); err != nil {
		return err
	}
	verdict := goOn
	made := connectIn(ctx, msg, make)
	if made != nil {
		verdict = giveUp
	}
	if _, err := sock.Write([]byte(verdict)); err != nil && made == nil {
		return fmt.Errorf("the container helper went away: %w", err)
	}
	return made
}

// connectIn is for a process that cannot end meanwhile: its parent waits for the verdict.
func connectIn(ctx context.Context, pid string, make machine.Connect) error {
	if _, err := strconv.ParseUint(pid, 10, 31); err != nil {
		return errs.Newf(errs.Internal, "the container helper names the process %q", pid)
	}
	ns, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	return make(ctx, ns)
}
