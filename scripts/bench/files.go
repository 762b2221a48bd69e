package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

const (
	small = 1 << 10
	large = 100 << 20
)

// fileRow times one push or pull of a file of that size; what is to be pulled is pushed before.
func fileRow(verb string, size int) func(context.Context, *bench, *server, int) (float64, error) {
	return func(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
		here, there := filepath.Join(s.dir+".home", fmt.Sprint("file-", size)), fmt.Sprint("m/root/file-", size)
		if err := ready(here, size); err != nil {
			return 0, err
		}
		if verb == "push" {
			return timed("file", "push", here, there)(ctx, nil, s, 0)
		}
		if err := s.run(ctx, "file", "push", here, there); err != nil {
			return 0, err
		}
		return timed("file", "pull", there, here+".back")(ctx, nil, s, 0)
	}
}

// ready makes a file of that size unless it is there.
func ready(path string, size int) error {
	if st, err := os.Stat(path); err == nil && st.Size() == int64(size) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, make([]byte, size), 0o644)
}

// crowdOfCommands is how many run at the same time.
const crowdOfCommands = 64

// manyExecs times commands that run at the same time, from the first request to the end of the last.
func manyExecs(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	const command = `{"command":["/bin/true"],"environment":{},"wait-for-websocket":false,"interactive":false}`
	failures := make([]error, crowdOfCommands)
	return timedCall(func() error {
		var all sync.WaitGroup
		for i := range failures {
			all.Go(func() { failures[i] = s.work(ctx, "/1.0/instances/m/exec", command) })
		}
		all.Wait()
		return errors.Join(failures...)
	})
}
