package storagetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

func (b *bench) streamer(t *testing.T) storage.Streamer {
	t.Helper()
	s, ok := b.pool.(storage.Streamer)
	if !ok {
		t.Skip("the driver has no format of its own")
	}
	return s
}

// sent is a volume with two snapshots as a stream.
func (b *bench) sent(t *testing.T, v storage.Volume) []byte {
	t.Helper()
	s := b.streamer(t)
	k := b.began(t, v)
	if err := k.Snapshot(t.Context(), v.At("s1")); err != nil {
		t.Fatal(err)
	}
	b.write(t, v, "three")
	var out bytes.Buffer
	if err := s.Send(t.Context(), v, []string{"s0", "s1"}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func streams(t *testing.T, b *bench) {
	v, to := instance("c1"), instance("c2")
	stream := b.sent(t, v)
	s := b.streamer(t)
	wants(t, s.Receive(t.Context(), v, bytes.NewReader(stream)), errs.Conflict)
	if err := s.Receive(t.Context(), to, bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	b.kept(t, to, "s0", "s1")
	for _, at := range []storage.Volume{v, to} {
		b.holds(t, at, "three")
		b.holds(t, at.At("s0"), "one")
		b.holds(t, at.At("s1"), "two")
	}
	b.unmount(t, to)
	if err := b.keeper(t).Restore(t.Context(), to.At("s0")); err != nil {
		t.Fatal(err)
	}
	b.write(t, to, "mine")
	b.holds(t, v, "three")
	b.list(t, "i", "c1", "c2")
	var out bytes.Buffer
	wants(t, s.Send(t.Context(), instance("missing"), nil, &out), errs.NotFound)
	wants(t, s.Send(t.Context(), v, []string{"missing"}, &out), errs.NotFound)
}

func damagedStreams(t *testing.T, b *bench) {
	stream := b.sent(t, instance("c1"))
	s := b.streamer(t)
	to := instance("c2")
	for _, damaged := range [][]byte{nil, []byte("nonsense\n"), stream[:20], stream[:len(stream)/2], stream[:len(stream)-1], append([]byte("{}\n"), stream...)} {
		wants(t, s.Receive(t.Context(), to, bytes.NewReader(damaged)), errs.Invalid)
		b.list(t, "i", "c1")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Receive(ctx, to, bytes.NewReader(stream)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.list(t, "i", "c1")
	if err := s.Receive(t.Context(), to, bytes.NewReader(stream)); err != nil {
		t.Error(err)
	}
	b.holds(t, to, "three")
}

// limits checks a quota, where the driver has one: the error of the host's own says that it is full.
func limits(t *testing.T, b *bench) {
	r, ok := b.pool.(storage.Resizer)
	m, measured := b.pool.(storage.Measurer)
	if !ok || !measured {
		t.Skip("the driver has no quotas")
	}
	v := instance("c1")
	b.create(t, image("i"), "x")
	b.clone(t, image("i"), v)
	wants(t, r.Resize(t.Context(), instance("missing"), 8<<20), errs.NotFound)
	if err := r.Resize(t.Context(), v, 8<<20); err != nil {
		t.Fatal(err)
	}
	if _, total, err := m.VolumeUsage(t.Context(), v); errs.Is(err, errs.Unsupported) {
		t.Skip("the driver has no quotas here")
	} else if err != nil || total != 8<<20 {
		t.Errorf("%d, %v", total, err)
	}
	big := func(v storage.Volume) error {
		return os.WriteFile(filepath.Join(b.mount(t, v).Root, "big"), make([]byte, 16<<20), 0o600)
	}
	if err := big(v); err == nil {
		t.Error("more was written than the quota allows")
	}
	b.clone(t, v, instance("c2")) // has no quota
	if err := big(instance("c2")); err != nil {
		t.Error(err)
	}
	if k, ok := b.pool.(keeper); ok { // a restored volume still has its own
		if err := errors.Join(os.Remove(filepath.Join(b.mount(t, v).Root, "big")), k.Snapshot(t.Context(), v.At("s0")), r.Resize(t.Context(), v, 10<<20)); err != nil {
			t.Fatal(err)
		}
		b.unmount(t, v)
		if err := k.Restore(t.Context(), v.At("s0")); err != nil {
			t.Fatal(err)
		}
		if _, total, err := m.VolumeUsage(t.Context(), v); err != nil || total != 10<<20 {
			t.Errorf("%d, %v", total, err)
		}
	}
	if err := errors.Join(r.Resize(t.Context(), v, 0), big(v)); err != nil {
		t.Error(err)
	}
}
