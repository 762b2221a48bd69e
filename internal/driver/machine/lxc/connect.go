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
func (d *Driver) connect(ctx context.Context, sock *net.UnixConn, p machine.Plan) error {
	msg, files, err := receive(sock)
	if errors.Is(err, io.EOF) || err == nil && msg == "" {
		return errNotAsked
	}
	if err := errors.Join(err, closeAll(files)); err != nil {
		return err
	}
	verdict := goOn
	made := d.furnish(ctx, msg, p)
	if made != nil {
		verdict = giveUp
	}
	if _, err := sock.Write([]byte(verdict)); err != nil && made == nil {
		return fmt.Errorf("the container helper went away: %w", err)
	}
	return made
}

// furnished tells whether the container is to be given something between its setup and its first program.
func furnished(p machine.Plan) bool { return p.Connect != nil || len(p.Mounts)+len(p.Nodes) > 0 }

// furnish gives a container that was set up its mounts, nodes and interfaces. The process cannot end meanwhile: its parent waits for the
// verdict.
func (d *Driver) furnish(ctx context.Context, process string, p machine.Plan) error {
	pid, err := strconv.ParseUint(process, 10, 31)
	if err != nil {
		return errs.Newf(errs.Internal, "the container helper names the process %q", process)
	}
	if len(p.Mounts)+len(p.Nodes) > 0 {
		in, err := d.enter(p.RunDir, int(pid))
		if err != nil {
			return err
		}
		err = in.placeAll(p)
		in.close()
		if err != nil {
			return err
		}
	}
	if p.Connect == nil {
		return nil
	}
	return connectIn(ctx, int(pid), p.Connect)
}

func connectIn(ctx context.Context, pid int, make machine.Connect) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return make(ctx, ns)
}
