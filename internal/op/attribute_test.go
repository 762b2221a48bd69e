package op_test

import (
	"context"
	"testing"

	"lxd/api"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/store"
)

func TestAttributed(t *testing.T) {
	own := &api.EventLifecycleRequestor{Username: "own"}
	for _, c := range []struct {
		name string
		ctx  context.Context
		by   *api.EventLifecycleRequestor
		want string
	}{
		{"a caller", op.WithCaller(t.Context(), op.Caller{Username: "root", Protocol: "unix", Address: "@"}), nil, "root"},
		{"the daemon itself", t.Context(), nil, ""},
		{"one that is named already", op.WithCaller(t.Context(), op.Caller{Username: "root"}), own, "own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := "nothing"
			s := op.Attributed(store.NewMem(store.Options{OnAnnounce: func(ev any) {
				got = ""
				if r := ev.(event.Change).Requestor; r != nil {
					got = r.Username
				}
			}}))
			defer s.Close()
			err := s.Update(c.ctx, func(tx store.Tx) error {
				tx.Announce(event.Change{Action: "profile-created", Requestor: c.by})
				tx.Write("things", "a", []byte("1"))
				return nil
			})
			if err != nil || got != c.want {
				t.Errorf("caused by %q, want %q; %v", got, c.want, err)
			}
		})
	}
}
