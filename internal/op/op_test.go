package op_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

func nothing(context.Context) error { return nil }

// untilCancelled is work that only ends when it is told to.
func untilCancelled(ctx context.Context, _ *op.Task) error {
	<-ctx.Done()
	return ctx.Err()
}

func start(t *testing.T, m *op.Manager, s op.Spec) *op.Operation {
	t.Helper()
	o, err := m.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		run    func(context.Context, *op.Task) error
		cancel bool
		status api.StatusCode
		err    string
	}{
		"success": {func(context.Context, *op.Task) error { return nil }, false, api.StatusSuccess, ""},
		"failure": {func(context.Context, *op.Task) error { return errors.New("disk full") }, false, api.StatusFailure, "disk full"},
		"panic":   {func(context.Context, *op.Task) error { panic("ouch") }, false, api.StatusFailure, "Testing: internal error: ouch"},
		"cancel":  {untilCancelled, true, api.StatusCancelled, "the operation was cancelled"},
		"cancelled step": {func(ctx context.Context, _ *op.Task) error {
			<-ctx.Done()
			return fmt.Errorf("image: %w", ctx.Err())
		}, true, api.StatusCancelled, "the operation was cancelled"},
		"cancelled with trouble": {func(ctx context.Context, _ *op.Task) error {
			<-ctx.Done()
			return fmt.Errorf("%w; and %w", ctx.Err(), errors.New("the disk is full"))
		}, true, api.StatusCancelled, "context canceled; and the disk is full"},
		"a token":  {nil, true, api.StatusCancelled, "the operation was cancelled"},
		"too late": {func(ctx context.Context, _ *op.Task) error { <-ctx.Done(); return nil }, true, api.StatusSuccess, ""},
	} {
		t.Run(name, func(t *testing.T) {
			st, running := newMemory(), make(chan bool)
			run := c.run
			if c.run != nil {
				run = func(ctx context.Context, tk *op.Task) error { close(running); return c.run(ctx, tk) }
			}
			m := op.NewManager(t.Context(), op.Options{Store: st, Location: "m1"})
			ctx := op.WithCaller(t.Context(), op.Caller{Username: "root", Protocol: "unix", Address: "@"})
			o, err := m.Start(ctx, op.Spec{Kind: "test", Description: "Testing", Project: "p", Args: 1, Run: run,
				Resources: map[string][]string{"instance": {"/1.0/instances/c1"}}, Metadata: map[string]any{"entity_url": "u"}})
			if err != nil {
				t.Fatal(err)
			}
			if c.cancel {
				if c.run != nil {
					<-running
				}
				if err := o.Cancel(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			err = o.Wait(t.Context())
			a := o.API()
			if a.StatusCode != c.status || a.Status != c.status.String() || a.Err != c.err || (err == nil) != (c.err == "") {
				t.Errorf("%s %q %v", a.Status, a.Err, err)
			}
			if a.Class != "task" || !a.MayCancel || a.Location != "m1" || a.Requestor.Username != "root" || a.Metadata["entity_url"] != "u" ||
				a.ID != o.ID() || o.URL() != "/1.0/operations/"+a.ID || o.Resources()["instance"][0] != "/1.0/instances/c1" || o.Caller().Address != "@" {
				t.Errorf("%+v", a)
			}
			if err := o.Cancel(t.Context()); !errs.Is(err, errs.Invalid) {
				t.Error("an ended operation was cancelled:", err)
			}
			if left := st.journals(); len(left) != 0 {
				t.Error(left)
			}
		})
	}
}

func TestStepsAreUndoneNewestFirst(t *testing.T) {
	var did []string
	do := func(name string) (string, func(context.Context) error, func(context.Context) error) {
		return name, func(context.Context) error { did = append(did, name); return nil },
			func(ctx context.Context) error { did = append(did, "undo "+name); return ctx.Err() }
	}
	m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
	o := start(t, m, op.Spec{Run: func(ctx context.Context, tk *op.Task) error {
		for _, n := range []string{"a", "b"} {
			name, fwd, back := do(n)
			if err := tk.Step(ctx, name, fwd, back); err != nil {
				return err
			}
		}
		if err := tk.Step(ctx, "c", nothing, nil); err != nil {
			return err
		}
		return tk.Step(ctx, "d", func(context.Context) error { return errs.Newf(errs.Conflict, "taken") }, nothing)
	}})
	err := o.Wait(t.Context())
	if !errs.Is(err, errs.Conflict) || err.Error() != "taken" || strings.Join(did, ",") != "a,b,undo b,undo a" {
		t.Error(err, did)
	}
}

func TestCancelStopsBeforeTheNextStep(t *testing.T) {
	in, undone := make(chan bool), false
	m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
	o := start(t, m, op.Spec{Run: func(ctx context.Context, tk *op.Task) error {
		if err := tk.Step(ctx, "a", nothing, func(ctx context.Context) error { undone = ctx.Err() == nil; return nil }); err != nil {
			return err
		}
		in <- true
		<-ctx.Done()
		return tk.Step(ctx, "b", func(context.Context) error { t.Error("the next step was done"); return nil }, nil)
	}})
	<-in
	if err := o.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(t.Context()); !errs.Is(err, errs.Canceled) || !undone || err.Error() != "b: the operation was cancelled" {
		t.Error(err, undone)
	}
}

func TestLocksExclude(t *testing.T) {
	m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
	first := start(t, m, op.Spec{Description: "Starting instance", Locks: []string{"instance default/c1"}, Run: untilCancelled})
	s := op.Spec{Locks: []string{"instance default/c2", "instance default/c1"}, Run: func(context.Context, *op.Task) error { return nil }}
	_, err := m.Start(t.Context(), s)
	if !errs.Is(err, errs.Conflict) || !strings.HasPrefix(err.Error(), "instance default/c1 is busy: Starting instance (operation "+first.ID()) {
		t.Error(err)
	}
	other := start(t, m, op.Spec{Locks: []string{"instance default/c2"}, Run: s.Run}) // the failed Start took no lock
	_ = other.Wait(t.Context())
	if err := first.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait(t.Context())
	if err := start(t, m, s).Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEndedOperationsStayAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
		a := start(t, m, op.Spec{Project: "p", Run: func(context.Context, *op.Task) error { return nil }})
		time.Sleep(time.Second)
		b := start(t, m, op.Spec{Run: untilCancelled})
		start(t, m, op.Spec{Project: "q", Class: op.TokenClass})
		var got []string
		for _, o := range m.List("p") {
			got = append(got, o.ID())
		}
		if strings.Join(got, " ") != a.ID()+" "+b.ID() || len(m.List("")) != 3 {
			t.Error(got, len(m.List("")))
		}
		time.Sleep(3 * time.Second)
		if _, err := m.Get(a.ID()); err != nil {
			t.Error("gone too early:", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := m.Get(a.ID()); !errs.Is(err, errs.NotFound) {
			t.Error("still there:", err)
		}
		if _, err := m.Get(b.ID()); err != nil {
			t.Error("a running one is gone:", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		m.Close(ctx)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
		short := start(t, m, op.Spec{Run: func(context.Context, *op.Task) error { time.Sleep(10 * time.Second); return nil }})
		long := start(t, m, op.Spec{Run: untilCancelled})
		token := start(t, m, op.Spec{Class: op.TokenClass})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		go func() {
			synctest.Wait()
			if token.API().StatusCode != api.StatusCancelled {
				t.Error("the token waits for a client")
			}
			if _, err := m.Start(t.Context(), op.Spec{Run: untilCancelled}); !errs.Is(err, errs.Unavailable) {
				t.Error("started while closing:", err)
			}
		}()
		m.Close(ctx)
		if short.API().StatusCode != api.StatusSuccess || long.API().StatusCode != api.StatusCancelled || time.Since(begin) != time.Minute {
			t.Error(short.API().Status, long.API().Status, time.Since(begin))
		}
	})
}

func TestCloseGivesUpOnWorkThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
		never := make(chan bool)
		start(t, m, op.Spec{Run: func(context.Context, *op.Task) error { <-never; return nil }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		m.Close(ctx)
		if took := time.Since(begin); took != 46*time.Second {
			t.Error(took)
		}
		close(never)
	})
}

func TestCloseOfAnIdleManagerReturnsAtOnce(t *testing.T) {
	op.NewManager(t.Context(), op.Options{}).Close(t.Context())
}

func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newMemory()
		m := op.NewManager(t.Context(), op.Options{Store: st, Location: "m1"})
		o := start(t, m, op.Spec{Kind: "k", Project: "p", Args: map[string]string{"name": "c1"}, Run: func(ctx context.Context, tk *op.Task) error {
			if j := st.journals(); len(j) != 1 || !strings.Contains(j[0], `"Args":{"name":"c1"}`) || !strings.Contains(j[0], tk.ID()) {
				t.Error("no journal before the first effect:", j)
			}
			_ = tk.Step(ctx, "one", nothing, nil)
			_ = tk.Step(ctx, "two", nothing, nil)
			if st.writes.Load() != 1 {
				t.Error("each step is written at once:", st.writes.Load())
			}
			time.Sleep(time.Second)
			if j := st.journals(); !strings.Contains(j[0], `"Done":["one","two"]`) || st.writes.Load() != 2 {
				t.Error(j, st.writes.Load())
			}
			_ = tk.Step(ctx, "three", nothing, nil)
			if err := tk.Sync(ctx); err != nil {
				t.Error(err)
			}
			if j := st.journals(); !strings.Contains(j[0], `"Done":["one","two","three"]`) {
				t.Error(j)
			}
			return nil
		}})
		if err := o.Wait(t.Context()); err != nil || len(st.journals()) != 0 {
			t.Error(err, st.journals())
		}
		time.Sleep(time.Second)
		if len(st.journals()) != 0 {
			t.Error("a late write brought the journal back")
		}
	})
}

func TestJournalTakesFewWrites(t *testing.T) {
	for name, c := range map[string]struct {
		args   any
		end    bool
		writes int32
	}{"none": {nil, false, 0}, "begin and end": {1, false, 2}, "ended by the work": {1, true, 2}} {
		st := newMemory()
		m := op.NewManager(t.Context(), op.Options{Store: st})
		o := start(t, m, op.Spec{Args: c.args, Run: func(ctx context.Context, tk *op.Task) error {
			err := tk.Step(ctx, "one", nothing, nil)
			if c.end {
				return errors.Join(err, st.Update(ctx, tk.EndJournal))
			}
			if c.args == nil {
				err = errors.Join(err, tk.Sync(ctx))
			}
			return err
		}})
		if err := o.Wait(t.Context()); err != nil || st.writes.Load() != c.writes || len(st.journals()) != 0 {
			t.Errorf("%s: %v, %d writes, left %v", name, err, st.writes.Load(), st.journals())
		}
	}
}

func TestNothingRunsWithoutItsJournal(t *testing.T) {
	st := newMemory()
	st.refuse = true
	m := op.NewManager(t.Context(), op.Options{Store: st})
	run := func(context.Context, *op.Task) error { t.Error("it ran"); return nil }
	if err := start(t, m, op.Spec{Args: 1, Run: run}).Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
	if err := start(t, m, op.Spec{Args: func() {}, Run: run}).Wait(t.Context()); err == nil {
		t.Error("arguments that cannot be written are no error")
	}
}

func TestFailedUndoKeepsTheJournalForRecovery(t *testing.T) {
	st := newMemory()
	m := op.NewManager(t.Context(), op.Options{Store: st, Location: "m1"})
	o := start(t, m, op.Spec{Kind: "k", Args: "x", Run: func(ctx context.Context, tk *op.Task) error {
		tk.Add("mount", func(context.Context) error { return errors.New("busy") })
		return errors.New("no")
	}})
	if err := o.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "undo mount: busy") {
		t.Error(err)
	}
	if len(st.journals()) != 1 {
		t.Fatal("the journal is gone")
	}
	next := op.NewManager(t.Context(), op.Options{Store: st, Location: "m1"})
	var got op.Journal
	next.Register("k", func(_ context.Context, j op.Journal) error { got = j; return nil })
	if err := next.Recover(t.Context()); err != nil || got.Kind != "k" || string(got.Args) != `"x"` || got.ID != o.ID() || len(st.journals()) != 0 {
		t.Error(err, got, st.journals())
	}
}

func TestRecover(t *testing.T) {
	for name, c := range map[string]struct {
		location string
		recover  op.Recoverer
		left     int
		err      string
	}{
		"recovered":         {"m1", func(context.Context, op.Journal) error { return nil }, 0, ""},
		"of another member": {"m2", func(context.Context, op.Journal) error { return errors.New("not ours") }, 1, ""},
		"failed":            {"m1", func(context.Context, op.Journal) error { return errors.New("busy") }, 1, "(k): busy"},
		"panicked":          {"m1", func(context.Context, op.Journal) error { panic("ouch") }, 1, "panic: ouch"},
		"unknown":           {"m1", nil, 1, `does not know its kind "k"`},
	} {
		st := newMemory()
		j, err := json.Marshal(op.Journal{ID: "1", Kind: "k", Location: c.location, Args: json.RawMessage("1")})
		if err != nil {
			t.Fatal(err)
		}
		st.data["operation/1"] = j
		m := op.NewManager(t.Context(), op.Options{Store: st, Location: "m1"})
		if c.recover != nil {
			m.Register("k", c.recover)
		}
		err = m.Recover(t.Context())
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || len(st.journals()) != c.left {
			t.Errorf("%s: %v, %d left", name, err, len(st.journals()))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("two recoverers for one kind")
		}
	}()
	m := op.NewManager(t.Context(), op.Options{})
	m.Register("k", nil)
	m.Register("k", nil)
}

func TestProgressIsPublishedAtALimitedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		m := op.NewManager(t.Context(), op.Options{Store: newMemory(), Publish: h, Location: "m1"})
		o := start(t, m, op.Spec{Project: "p", Run: func(_ context.Context, tk *op.Task) error {
			for i := range 1000 {
				tk.Progress("download_progress", fmt.Sprintf("%d%%", i/10))
				time.Sleep(time.Millisecond)
			}
			tk.SetMetadata("return", 0)
			return nil
		}})
		_ = o.Wait(t.Context())
		time.Sleep(time.Second)
		var status []string
		for _, ev := range h.events() {
			var a api.Operation
			if err := json.Unmarshal(ev.Metadata, &a); err != nil || ev.Project != "p" || ev.Location != "m1" || ev.Type != "operation" {
				t.Fatal(err, ev)
			}
			status = append(status, a.Status)
		}
		n := len(status)
		if n < 6 || n > 10 || status[0] != "Operation created" || status[1] != "Running" || status[n-1] != "Success" || status[n-2] != "Running" {
			t.Error(n, status)
		}
		if a := o.API(); a.Metadata["return"] != 0 || a.Metadata["download_progress"] != "99%" || !a.UpdatedAt.After(a.CreatedAt) {
			t.Errorf("%+v", a)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	h := &heard{deaf: true}
	m := op.NewManager(t.Context(), op.Options{Store: newMemory(), Publish: h})
	_ = start(t, m, op.Spec{Run: func(context.Context, *op.Task) error { return nil }}).Wait(t.Context())
	if len(h.events()) != 0 {
		t.Error("events were made for nobody")
	}
}

func TestConnect(t *testing.T) {
	m := op.NewManager(t.Context(), op.Options{Store: newMemory()})
	task := start(t, m, op.Spec{Run: untilCancelled})
	connected := false
	ws := start(t, m, op.Spec{Class: op.WebsocketClass, Run: untilCancelled, Connect: func(http.ResponseWriter, *http.Request) error {
		connected = true
		return nil
	}})
	if err := task.Connect(nil, nil); !errs.Is(err, errs.Internal) {
		t.Error(err)
	}
	if err := ws.Connect(nil, nil); err != nil || !connected {
		t.Error(err)
	}
	if err := ws.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = ws.Wait(t.Context())
	if err := ws.Connect(nil, nil); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestFailpoints(t *testing.T) {
	for text, want := range map[string]string{
		"k/one/before=fail": "one: failpoint k/one/before",
		"*/*/before=fail":   "one: failpoint k/one/before",
		"k/two/after=fail":  "two: failpoint k/two/after; undone one two",
		"k/none/after=fail": "",
		"x/one/before=fail": "",
		"k/two/after=log":   "",
		"":                  "",
	} {
		hook, err := op.ParseHook(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		undone := map[string]bool{}
		m := op.NewManager(t.Context(), op.Options{Store: newMemory(), Hook: hook})
		err = start(t, m, op.Spec{Kind: "k", Run: func(ctx context.Context, tk *op.Task) error {
			for _, n := range []string{"one", "two"} {
				if err := tk.Step(ctx, n, nothing, func(context.Context) error { undone[n] = true; return nil }); err != nil {
					return err
				}
			}
			return nil
		}}).Wait(t.Context())
		got := ""
		if err != nil {
			got = err.Error()
		}
		if undone["one"] && undone["two"] {
			got += "; undone one two"
		}
		if got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	for _, bad := range []string{"k", "k/s/during=fail", "k/s/before=explode", "k/before=fail"} {
		if _, err := op.ParseHook(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	st := newMemory()
	m := op.NewManager(t.Context(), op.Options{Store: st})
	var mu sync.Mutex
	inside, done, busy := map[string]int{}, 0, 0
	var all sync.WaitGroup
	for i := range 200 {
		name := fmt.Sprintf("instance p/c%d", i%5)
		all.Go(func() {
			o, err := m.Start(t.Context(), op.Spec{Kind: "k", Args: i, Locks: []string{name}, Run: func(ctx context.Context, tk *op.Task) error {
				mu.Lock()
				inside[name]++
				if inside[name] > 1 {
					t.Error("two hold", name)
				}
				mu.Unlock()
				defer func() { mu.Lock(); inside[name]--; done++; mu.Unlock() }()
				return tk.Step(ctx, "s", nothing, nil)
			}})
			if err == nil {
				err = o.Wait(t.Context())
			}
			if err != nil && !errs.Is(err, errs.Conflict) {
				t.Error(err)
			}
			if err != nil {
				mu.Lock()
				busy++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if done+busy != 200 || done == 0 || len(st.journals()) != 0 {
		t.Error(done, busy, st.journals())
	}
}

var _ store.Store = (*memory)(nil)
