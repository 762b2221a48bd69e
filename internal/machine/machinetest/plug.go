package machinetest

import (
	"context"
	"errors"
	"os"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// connect: the interfaces are made once, in a namespace that is there, and a failure to make them is one to start.
func connect(t *testing.T, s Subject) {
	p := s.Plan(t)
	refused, calls := errors.New("no such bridge"), 0
	p.Connect = func(_ context.Context, netns *os.File) error {
		calls++
		if _, err := netns.Stat(); err != nil {
			return err
		}
		return refused
	}
	if _, err := s.Driver.Start(deadline(t), p); !errors.Is(err, refused) || calls != 1 {
		t.Fatalf("started without interfaces: %v, asked %d times", err, calls)
	}
	refused, calls = nil, 0
	m, err := s.Driver.Start(deadline(t), p)
	if err != nil || calls != 1 {
		t.Fatalf("%v, asked %d times", err, calls)
	}
	t.Cleanup(func() {
		if err := s.Driver.Reap(deadline(t), p.ID, p.RunDir); err != nil {
			t.Errorf("reap: %v", err)
		}
	})
	plugger, ok := m.(machine.Plugger)
	if !ok {
		return
	}
	refused = errors.New("no more")
	if err := plugger.Plug(deadline(t), p.Connect); !errors.Is(err, refused) || calls != 2 {
		t.Fatalf("plugged: %v, asked %d times", err, calls)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := plugger.Plug(deadline(t), p.Connect); !errs.Is(err, errs.NotFound) || calls != 2 {
		t.Fatalf("plugged into what has ended: %v", err)
	}
}

func namespace(t *testing.T, s Subject) {
	m, _ := s.start(t)
	n, ok := m.(machine.Namespacer)
	if !ok {
		return
	}
	for _, kind := range []string{"net", "mnt", "user"} {
		f, err := n.Namespace(kind)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Namespace("net"); !errs.Is(err, errs.NotFound) {
		t.Fatalf("the namespace of what has ended: %v", err)
	}
}
