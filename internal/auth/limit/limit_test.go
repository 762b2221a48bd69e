package limit_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lxd/internal/auth/limit"
	"lxd/internal/errs"
)

var (
	wrong = func() error { return errs.Newf(errs.Forbidden, "wrong") }
	right = func() error { return nil }
)

// fail sends a number of wrong credentials.
func fail(l *limit.Limiter, from string, n int) {
	for i := range n {
		_ = l.Try(from, fmt.Sprint("guess", i), wrong)
	}
}

func TestWrongCredentialsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limit.Limiter
		for _, c := range []string{"mine", ""} {
			if err := l.Try("10.0.0.9:1", c, right); err != nil {
				t.Fatal(err)
			}
		}
		for _, from := range []string{"10.0.0.9:1", "[fd00::1]:2", "[::ffff:10.0.1.9]:1"} {
			fail(&l, from, limit.Tries-1)
			if err := l.Try(from, "another", right); err != nil {
				t.Error("too early", from, err)
			}
			if err := l.Admit(from); err != nil {
				t.Error("too early", from, err)
			}
			l.Failed(from)
			if err := l.Admit(from); !errs.Is(err, errs.TooMany) {
				t.Error("too late", from, err)
			}
		}
		asked := false
		for _, from := range []string{"10.0.0.9:77", "[fd00::2]:3", "[fd00::2%eth0]:3", "10.0.1.9:4"} { // another port, another address of the same network
			err := l.Try(from, "first", func() error { asked = true; return nil })
			if !errs.Is(err, errs.TooMany) || asked {
				t.Error(from, err, asked)
			}
			if err := l.Try(from, "", right); err == nil {
				t.Error("what is good once only was remembered", from)
			}
			if err := l.Try(from, "mine", right); err != nil {
				t.Error("who proved itself before is locked out by others", from, err)
			}
		}
		for _, from := range []string{"10.0.0.10:1", "[fd00:0:0:1::1]:2", "@", ""} {
			if err := l.Try(from, "first", right); err != nil {
				t.Error("another is held back", from, err)
			}
		}
		time.Sleep(limit.Window + time.Second)
		if err := l.Try("10.0.0.9:1", "first", right); err != nil {
			t.Error("it lasts too long", err)
		}
		fail(&l, "10.0.0.9:1", limit.Tries)
		time.Sleep(2 * time.Hour)
		fail(&l, "10.0.0.9:1", limit.Tries)
		if err := l.Try("10.0.0.9:1", "mine", right); err == nil {
			t.Error("a credential is good for ever")
		}
	})
}

func TestWhatDoesNotCount(t *testing.T) {
	var l limit.Limiter
	for _, kind := range []errs.Kind{errs.Internal, errs.Unavailable, errs.Canceled} {
		for range 2 * limit.Tries {
			_ = l.Try("10.0.0.9:1", "x", func() error { return errs.Newf(kind, "ours") })
		}
	}
	for _, local := range []string{"@", "", "/run/unix.socket"} {
		fail(&l, local, 2*limit.Tries)
		if err := l.Try(local, "x", right); err != nil {
			t.Error(local, err)
		}
	}
	if err := l.Try("10.0.0.9:1", "y", right); err != nil {
		t.Error(err)
	}
	var none *limit.Limiter
	fail(none, "10.0.0.9:1", 2*limit.Tries)
	if err := none.Try("10.0.0.9:1", "x", right); err != nil {
		t.Error(err)
	}
}

// TestMemoryIsBounded has a client with many addresses: it neither fills the memory nor locks others out.
func TestMemoryIsBounded(t *testing.T) {
	var l limit.Limiter
	size := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	many := func(from, to int) {
		for i := from; i < to; i++ {
			at := fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>16, i&0xffff)
			_ = l.Try(at, "x", wrong)
			_ = l.Try(at, at, right)
		}
	}
	many(0, 10_000)
	before := size()
	many(10_000, 200_000)
	if after := size(); after > before+(1<<20) {
		t.Errorf("%d bytes grew to %d", before, after)
	}
	if err := l.Try("10.0.0.1:1", "x", right); err != nil {
		t.Error("others are locked out", err)
	}
	runtime.KeepAlive(&l)
}

func TestManyAtOnce(t *testing.T) {
	var l limit.Limiter
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 100 {
				_ = l.Try(fmt.Sprintf("10.0.0.%d:1", i%5), "x", wrong)
				_ = l.Try(fmt.Sprintf("10.0.0.%d:1", i%5), fmt.Sprint(j), right)
			}
		})
	}
	all.Wait()
	if err := l.Try("10.0.0.1:1", "never seen", right); !errs.Is(err, errs.TooMany) {
		t.Error(err)
	}
}
