package storage_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// streamer is a driver whose pools have a format of their own: the names of the snapshots.
type streamer struct{ storage.Driver }

func (d streamer) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	p, err := d.Driver.Open(ctx, dir, cfg)
	return streamPool{p}, err
}

type streamPool struct{ storage.Pool }

func (p streamPool) Send(_ context.Context, v storage.Volume, snapshots []string, w io.Writer) error {
	if v.Name == "broken" {
		return errors.New("the source is broken")
	}
	_, err := io.WriteString(w, strings.Repeat(strings.Join(snapshots, " ")+"\n", 100000)) // more than a pipe holds
	return err
}

func (p streamPool) Receive(ctx context.Context, v storage.Volume, r io.Reader) error {
	if v.Name == "deaf" {
		return errs.Newf(errs.Invalid, "nothing is read")
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(b), "s0 s1\n") {
		return errs.Newf(errs.Invalid, "received %.20q", b)
	}
	return p.Create(ctx, v, nil)
}

func TestStream(t *testing.T) {
	w := newWorld(t, streamer{mem.New("own")})
	for pool, driver := range map[string]string{"a": "own", "b": "own", "c": "dir"} {
		must(t, w.svc.CreatePool(t.Context(), api.StoragePoolsPost{Name: pool, Driver: driver}))
	}
	for _, name := range []string{"c1", "broken"} {
		must(t, w.svc.CreateEmpty(t.Context(), "a", instance(name)))
	}
	at := func(pool, name string) storage.Place { return storage.Place{Pool: pool, Volume: instance(name)} }
	stream := func(from, to storage.Place) error { return w.svc.Stream(t.Context(), from, []string{"s0", "s1"}, to) }
	must(t, stream(at("a", "c1"), at("b", "c1")))
	wants(t, stream(at("a", "c1"), at("b", "c1")), errs.Conflict, "c1")
	wants(t, stream(at("a", "c1"), at("c", "c1")), errs.Unsupported, "format")
	wants(t, stream(at("c", "c1"), at("a", "c2")), errs.Unsupported, "format")
	wants(t, stream(at("a", "c1"), at("none", "c1")), errs.NotFound, "none")
	wants(t, stream(at("a", "c1"), at("b", "deaf")), errs.Invalid, "nothing is read")
	if err := stream(at("a", "broken"), at("b", "c2")); err == nil || !strings.Contains(err.Error(), "the source is broken") {
		t.Error(err)
	}
	vols, err := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "b", Project: "default"})
	must(t, err)
	var names []string
	for _, v := range vols {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"c1"}) {
		t.Error(names)
	}
}
