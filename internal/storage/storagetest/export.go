package storagetest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

// exported is a part as a file holds it.
type exported struct {
	storage.Part
	bytes []byte
}

// reading yields parts that were exported.
func reading(parts []exported) func() (storage.Part, io.Reader, error) {
	return func() (storage.Part, io.Reader, error) {
		if len(parts) == 0 {
			return storage.Part{}, nil, io.EOF
		}
		p := parts[0]
		parts = parts[1:]
		return p.Part, bytes.NewReader(p.bytes), nil
	}
}

// exported is a volume with two snapshots as parts.
func (b *bench) exported(t *testing.T, v storage.Volume) (storage.Exporter, []exported) {
	t.Helper()
	e, ok := b.pool.(storage.Exporter)
	if !ok {
		t.Skip("the driver has no format of its own for files")
	}
	k := b.began(t, v)
	if err := k.Snapshot(t.Context(), v.At("s1")); err != nil {
		t.Fatal(err)
	}
	b.write(t, v, "three")
	var said []storage.Part
	var all []exported
	err := e.Export(t.Context(), v, []string{"s0", "s1"}, storage.PartWriter{
		Begin: func(parts []storage.Part) error { said = parts; return nil },
		Put: func(p storage.Part, write func(io.Writer) error) error {
			var w bytes.Buffer
			err := write(&w)
			all = append(all, exported{p, w.Bytes()})
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var came []storage.Part
	for _, p := range all {
		came = append(came, p.Part)
	}
	if want := []storage.Part{{Snapshot: "s0"}, {Snapshot: "s1"}, {}}; !slices.Equal(said, want) || !slices.Equal(came, want) {
		t.Fatalf("announced %v, came %v", said, came)
	}
	return e, all
}

func exports(t *testing.T, b *bench) {
	v, to := instance("c1"), instance("c2")
	e, all := b.exported(t, v)
	wants(t, e.Import(t.Context(), v, reading(all)), errs.Conflict)
	if err := e.Import(t.Context(), to, reading(all)); err != nil {
		t.Fatal(err)
	}
	b.kept(t, to, "s0", "s1")
	b.holds(t, to, "three")
	b.holds(t, to.At("s0"), "one")
	b.holds(t, to.At("s1"), "two")
	b.write(t, to, "mine")
	b.holds(t, v, "three")
	var as []exported // a snapshot in place of the volume
	err := e.Export(t.Context(), v.At("s0"), nil, storage.PartWriter{
		Begin: func([]storage.Part) error { return nil },
		Put: func(p storage.Part, write func(io.Writer) error) error {
			var w bytes.Buffer
			err := write(&w)
			as = append(as, exported{p, w.Bytes()})
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Import(t.Context(), instance("c3"), reading(as)); err != nil {
		t.Fatal(err)
	}
	b.holds(t, instance("c3"), "one")
	b.list(t, "i", "c1", "c2", "c3")
}

func damagedExports(t *testing.T, b *bench) {
	e, all := b.exported(t, instance("c1"))
	to := instance("c2")
	last := all[2]
	with := func(b []byte) []exported { return []exported{all[0], all[1], {last.Part, b}} }
	flipped := slices.Clone(last.bytes)
	flipped[40] ^= 1
	for name, damaged := range map[string][]exported{
		"nothing": nil, "no volume": all[:2], "a missing base": {all[1], last}, "a snapshot twice": {all[0], all[0], last}, "an empty one": with(nil),
		"nonsense": with([]byte("nonsense nonsense nonsense nonsense nonsense")), "a part": with(last.bytes[:len(last.bytes)-1]),
		"the head": with(last.bytes[:30]), "another bit": with(flipped), "a path out": {all[0], all[1], last, {storage.Part{Path: "../x"}, all[0].bytes}},
		"a snapshot of a path": {{storage.Part{Snapshot: "../s0"}, all[0].bytes}, last},
	} {
		if err := e.Import(t.Context(), to, reading(damaged)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		b.list(t, "i", "c1")
	}
	broken := errors.New("the sender is gone")
	next := reading(all[:1])
	err := e.Import(t.Context(), to, func() (storage.Part, io.Reader, error) {
		p, r, err := next()
		if errors.Is(err, io.EOF) {
			err = broken
		}
		return p, r, err
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	b.list(t, "i", "c1")
	if err := e.Import(t.Context(), to, reading(all)); err != nil {
		t.Error(err)
	}
	b.holds(t, to, "three")
}
