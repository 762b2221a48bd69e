package archive

import (
	"io"
	"sync"
)

// How far ahead is the number and size of pieces that are unpacked before somebody asks for them.
const (
	aheadPieces    = 8
	aheadPieceSize = 256 << 10
)

// ahead reads a stream in a goroutine of its own, so that unpacking goes on while files are written.
type ahead struct {
	free chan []byte
	full chan piece
	// now is the piece that is being handed out, of which rest is left; both are nil before the first.
	now, rest []byte
	err       error
	quit      chan struct{}
	once      sync.Once
}

// piece is what was read at a time, and how reading it ended.
type piece struct {
	b   []byte
	err error
}

// readAhead begins to read r.
func readAhead(r io.Reader) *ahead {
	a := &ahead{free: make(chan []byte, aheadPieces), full: make(chan piece, aheadPieces), quit: make(chan struct{})}
	for range aheadPieces {
		a.free <- nil // a short stream needs no more than one
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.quit:
			return
		}
		if b == nil {
			b = make([]byte, aheadPieceSize)
		}
		n, err := fullRead(r, b[:aheadPieceSize], a.quit)
		a.full <- piece{b[:n], err} // there is room for all pieces
		if err != nil {
			return
		}
	}
}

// fullRead reads until b is full, an error, or quit.
func fullRead(r io.Reader, b []byte, quit <-chan struct{}) (n int, err error) {
	for n < len(b) && err == nil {
		select {
		case <-quit:
			return n, io.ErrClosedPipe
		default:
		}
		var got int
		got, err = r.Read(b[n:])
		n += got
	}
	return n, err
}

// Read hands out what was read; an error comes after all that was read before it.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.now != nil {
			a.free <- a.now
			a.now = nil
		}
		next := <-a.full
		a.now, a.rest, a.err = next.b, next.b, next.err
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// close has the reading end. It does not wait for a source that is silent: what that goroutine reads yet is nobody's.
func (a *ahead) close() error {
	a.once.Do(func() { close(a.quit) })
	return nil
}
