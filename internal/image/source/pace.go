package source

import (
	"fmt"
	"io"
	"time"
)

// Least pace of a download: slower than any line in use, and fast enough that nobody is held up for days by a server that sends a byte now
// and then.
const (
	grace    = time.Minute
	minSpeed = 4 << 10 // bytes per second, over the whole time
)

// pace fails once what it reads comes too slowly.
type pace struct {
	r     io.Reader
	begun time.Time
	n     int64
}

func steady(r io.Reader) io.Reader { return &pace{r: r, begun: time.Now()} }

// Read reads on.
func (p *pace) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if took := time.Since(p.begun); err == nil && took > grace && p.n < int64(took.Seconds())*minSpeed {
		return n, fmt.Errorf("the image server sends too slowly: %d bytes in %s", p.n, took.Round(time.Second))
	}
	return n, err
}
