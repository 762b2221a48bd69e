package migrate

import (
	"fmt"
	"io"
	"time"

	"lxd/internal/op"
)

// pace is how often clients are told how far a transfer is.
const pace = 200 * time.Millisecond

// progress shows clients how much was sent or received, in the metadata of the operation.
type progress struct {
	t           *op.Task
	began, told time.Time
	bytes       int64
}

func newProgress(t *op.Task) *progress { return &progress{t: t, began: time.Now()} }

func (p *progress) add(n int) {
	p.bytes += int64(n)
	now := time.Now()
	if now.Sub(p.told) < pace {
		return
	}
	p.told = now
	p.show()
}

func (p *progress) show() {
	rate := float64(p.bytes) / max(time.Since(p.began).Seconds(), 0.001)
	p.t.Progress("fs_progress", fmt.Sprintf("%.2fMB (%.2fMB/s)", float64(p.bytes)/1e6, rate/1e6))
}

// watched counts what goes through a stream.
type watched struct {
	*stream
	p *progress
}

// Write sends p.
func (w watched) Write(p []byte) (int, error) {
	n, err := w.stream.Write(p)
	w.p.add(n)
	return n, err
}

// Read receives into p.
func (w watched) Read(p []byte) (int, error) {
	n, err := w.stream.Read(p)
	w.p.add(n)
	if err == io.EOF { //nolint:errorlint // a reader says so by this very value
		w.p.show()
	}
	return n, err
}
