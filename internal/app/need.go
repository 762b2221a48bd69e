package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"lxd/internal/instance"
	"lxd/internal/server"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// Needed says why the daemon of this host should run although it does not; "" if it need not, or runs.
func Needed(ctx context.Context) (string, error) { return NeededIn(ctx, stateDir(), opener(ctx)) }

// NeededIn is Needed for the state in dir, which open opens.
func NeededIn(ctx context.Context, dir string, open func(dir string, o store.Options) (store.Store, error)) (why string, err error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lxd.lock"), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // no daemon has ever run here
	}
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return "", nil // it runs
	}
	st, err := open(filepath.Join(dir, "database"), store.Options{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	err = st.View(ctx, func(tx store.Tx) error {
		why = duties(tx)
		return nil
	})
	return why, err
}

// duties says what the daemon has to do even when nobody asks it for anything.
func duties(tx store.Tx) string {
	for _, r := range server.Records.AllRev(tx, "") {
		for _, key := range []string{"core.https_address", "core.metrics_address", "core.debug_address"} {
			if r.Config[key] != "" {
				return "it serves the network (" + key + ")"
			}
		}
	}
	for range instance.Collection.AllRev(tx, "") {
		return "there are instances"
	}
	for _, r := range storage.Volumes.AllRev(tx, "") {
		if r.Type == storage.CustomVolume {
			return "there are storage volumes to look after"
		}
	}
	return ""
}
