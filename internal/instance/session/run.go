package session

import (
	"context"
	"os"
	"sync"

	"github.com/gorilla/websocket"

	"lxd/internal/machine"
)

// Files are the ends of the streams that the program gets; nil ones when it has a terminal.
type Files struct{ Stdin, Stdout, Stderr *os.File }

// Run starts a program, carries its streams until it has ended, and returns its exit code. A client that goes away ends the
// program; so does the end of ctx.
func (s *Session) Run(ctx context.Context, start func(Files) (machine.Process, error)) (int, error) {
	if s.interactive {
		return s.runTerminal(ctx, start)
	}
	return s.runPipes(ctx, start)
}

func (s *Session) runPipes(ctx context.Context, start func(Files) (machine.Process, error)) (int, error) {
	var theirs, ours [3]*os.File
	defer func() { closeAll(append(theirs[:], ours[:]...)...) }()
	for i := range ours {
		var err error
		if theirs[i], ours[i], err = pipe(i == 0); err != nil {
			return 0, err
		}
	}
	p, err := start(Files{theirs[0], theirs[1], theirs[2]})
	if err != nil {
		return 0, err
	}
	closeAll(theirs[:]...) // else the outputs would never end
	g := newProgram(p, s.interactive)
	s.obey(g)
	s.read(s.conn("0"), func(b []byte) error { _, err := ours[0].Write(b); return err }, func() { closeAll(ours[0]) })
	out := []*output{{f: ours[1], c: s.conn("1")}, {f: ours[2], c: s.conn("2")}}
	for _, o := range out {
		s.read(o.c, nil, func() { o.gone(g) })
	}
	return g.carry(ctx, out...)
}

func (s *Session) runTerminal(ctx context.Context, start func(Files) (machine.Process, error)) (int, error) {
	p, err := start(Files{})
	if err != nil {
		return 0, err
	}
	tty := p.Terminal()
	defer closeAll(tty)
	g := newProgram(p, s.interactive)
	s.obey(g)
	c := s.conn("0")
	s.read(c, func(b []byte) error { _, err := tty.Write(b); return err }, g.hangUp)
	return g.carry(ctx, &output{f: tty, c: c})
}

// carry moves the outputs to their websockets until the program has ended and they are empty.
func (g *program) carry(ctx context.Context, out ...*output) (int, error) {
	var wait sync.WaitGroup
	for _, o := range out {
		wait.Go(func() { o.send(g) })
	}
	code, err := Wait(ctx, g)
	g.end()
	for _, o := range out {
		o.drainSoon()
	}
	wait.Wait()
	return code, err
}

// obey does what the control websocket says, also if it is opened later. A client that closes it has gone.
func (s *Session) obey(g *program) {
	take := func(c *websocket.Conn) {
		s.read(c, func(b []byte) error { g.command(b); return nil }, g.hangUp)
	}
	if c := s.conn(control); c != nil {
		take(c)
		return
	}
	s.readers.Go(func() {
		select {
		case c := <-s.late:
			take(c)
		case <-g.done:
		}
	})
}
