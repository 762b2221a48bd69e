package console

import (
	"errors"
	"io"
)

// escape is the key, ctrl+a, that makes the next one a command to lxc: q detaches, and itself types it.
const escape = 0x01

// errDetached ends what the user types when they detach.
var errDetached = errors.New("detached")

// keys is what the user types; it ends when they detach.
type keys struct {
	from io.Reader
	// escaped says that the last key was the escape.
	escaped, ended bool
	// left is what did not fit into the last read.
	left []byte
}

// Read returns what is meant for the instance.
func (k *keys) Read(p []byte) (int, error) {
	for len(k.left) == 0 {
		switch {
		case k.ended:
			return 0, errDetached
		case k.from == nil:
			return 0, io.EOF
		}
		n, err := k.from.Read(p)
		k.left = k.filter(p[:n])
		if err != nil && len(k.left) == 0 {
			return 0, err
		}
	}
	n := copy(p, k.left)
	k.left = k.left[n:]
	return n, nil
}

// filter takes commands out of what was typed.
func (k *keys) filter(typed []byte) []byte {
	out := make([]byte, 0, len(typed)+1)
	for _, key := range typed {
		switch {
		case !k.escaped && key == escape:
			k.escaped = true
		case k.escaped && key == 'q':
			k.ended = true
			return out
		case k.escaped && key != escape:
			k.escaped = false
			out = append(out, escape, key)
		default:
			k.escaped = false
			out = append(out, key)
		}
	}
	return out
}
