package file

import (
	"io"
	"os"
	"sync"
)

// chunk is how much is carried at a time.
const chunk = 256 << 10

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// copyInto writes all of r to a file. A reader that fails half way leaves what came before.
func copyInto(f *os.File, r io.Reader) (int64, error) {
	if r == nil {
		return 0, nil
	}
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, *buf)
}
