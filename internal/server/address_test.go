package server_test

import (
	"context"
	"errors"
	"testing"

	"lxd/internal/server"
	"lxd/internal/store"
)

func TestSplitAddress(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port int
	}{
		"10.0.0.1": {"10.0.0.1", 8443}, "10.0.0.1:9000": {"10.0.0.1", 9000}, "[::]:8443": {"::", 8443}, "[fd42::1]": {"fd42::1", 8443},
		"::": {"::", 8443}, "fd42::1": {"fd42::1", 8443}, ":8443": {"", 8443}, ":1": {"", 1}, "box.example.org:443": {"box.example.org", 443}, "box": {"box", 8443},
	} {
		if host, port, err := server.SplitAddress(in, server.DefaultPort); err != nil || host != want.host || port != want.port {
			t.Errorf("%q: %s %d %v", in, host, port, err)
		}
	}
	for _, bad := range []string{"10.0.0:1", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:http", "[10.0.0.1]:1", "[::", "a b", "-x", "a/b:1", "[::1]x:1", "1:2:3:4", "https://a:1"} {
		if host, port, err := server.SplitAddress(bad, server.DefaultPort); err == nil {
			t.Errorf("%q is taken for %s and %d", bad, host, port)
		}
	}
}

// full is a store that takes nothing.
type full struct{ store.Store }

var errFull = errors.New("full")

func (full) Update(context.Context, func(store.Tx) error) error { return errFull }

func TestNetworkAddressIsActedOn(t *testing.T) {
	s, _ := newService(t, "")
	var moved []string
	var refuse error
	s.Listen = map[string]func(string) error{server.HTTPSAddress: func(address string) error { moved = append(moved, address); return refuse }}
	set := func(address string) error {
		return s.Replace(t.Context(), map[string]any{"volatile.uuid": config(t, s)["volatile.uuid"], "core.https_address": address})
	}
	if err := set("127.0.0.1:9"); err != nil || len(moved) != 1 || moved[0] != "127.0.0.1:9" {
		t.Fatal(err, moved)
	}
	if err := set("127.0.0.1:9"); err != nil || len(moved) != 1 {
		t.Error("the same address again is not a change", err, moved)
	}
	refuse = errors.New("taken")
	if err := set("127.0.0.1:10"); !errors.Is(err, refuse) || config(t, s)["core.https_address"] != "127.0.0.1:9" {
		t.Error("an address that cannot be used is kept", err)
	}
	refuse, moved = nil, nil
	good := s.Store
	s.Store = full{good}
	if err := set("127.0.0.1:11"); !errors.Is(err, errFull) || len(moved) != 2 || moved[1] != "127.0.0.1:9" {
		t.Error("what could not be kept was not undone", err, moved)
	}
	s.Store = good
	if err := set(""); err != nil || moved[len(moved)-1] != "" {
		t.Error(err, moved)
	}
}
