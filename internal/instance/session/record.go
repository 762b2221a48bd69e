package session

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"lxd/internal/machine"
)

// Recording is where the outputs of a program go.
type Recording struct {
	Stdout, Stderr *os.File
	// Max is how many bytes of each are kept; what comes after is dropped, so that the program can go on.
	Max int64
}

// Record runs a program that nobody is attached to, keeps what it writes and returns its exit code. The end of ctx kills it.
func Record(ctx context.Context, r Recording, start func(Files) (machine.Process, error)) (int, error) {
	var theirs, ours [2]*os.File
	defer func() { closeAll(append(theirs[:], ours[:]...)...) }()
	for i := range ours {
		var err error
		if theirs[i], ours[i], err = pipe(false); err != nil {
			return 0, err
		}
	}
	p, err := start(Files{Stdout: theirs[0], Stderr: theirs[1]})
	if err != nil {
		return 0, err
	}
	closeAll(theirs[:]...) // else the outputs would never end
	var wait sync.WaitGroup
	var failed [2]error
	for i, into := range []*os.File{r.Stdout, r.Stderr} {
		wait.Go(func() { failed[i] = keep(into, ours[i], r.Max) })
	}
	code, err := Wait(ctx, p)
	for _, f := range ours { // something that it left running may hold them open
		_ = f.SetReadDeadline(time.Now().Add(drainMost))
	}
	wait.Wait()
	for _, e := range failed {
		if err == nil {
			err = e
		}
	}
	return code, err
}

// keep copies up to most bytes and drops the rest. The end of the reading is no error, whatever caused it.
func keep(into io.Writer, from io.Reader, most int64) error {
	left := most
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := from.Read(*buf)
		if part := min(int64(n), left); part > 0 {
			if _, err := into.Write((*buf)[:part]); err != nil {
				return err
			}
			left -= part
		}
		if err != nil {
			return nil
		}
	}
}
