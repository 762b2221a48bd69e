package migrate

import (
	"errors"
	"io"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"lxd/internal/errs"
)

// header is the first message that each side sends on the control stream: a protobuf message that other implementations read too.
type header struct {
	// formats are the ways in which the instance can be sent, or the one that is chosen. Others call this field unknown and leave it out.
	formats []string
	// snapshots are the names of those that are sent.
	snapshots []string
}

// Numbers of the header's fields; fsField is required, with rsync as 0.
const (
	fsField, snapshotsField, formatsField = 1, 4, 2000
	successField, messageField            = 1, 2
)

// backupFormat is an archive as "lxc export" makes it, unpacked.
const backupFormat = "backup-1"

func (h header) marshal() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, fsField, protowire.VarintType), 0)
	for _, s := range h.snapshots {
		b = protowire.AppendString(protowire.AppendTag(b, snapshotsField, protowire.BytesType), s)
	}
	for _, f := range h.formats {
		b = protowire.AppendString(protowire.AppendTag(b, formatsField, protowire.BytesType), f)
	}
	return b
}

func parseHeader(b []byte) (h header, err error) {
	err = fields(b, func(n protowire.Number, v []byte, _ uint64) {
		switch n {
		case snapshotsField:
			h.snapshots = append(h.snapshots, string(v))
		case formatsField:
			h.formats = append(h.formats, string(v))
		}
	})
	return h, err
}

// verdict is the last message: whether it worked.
type verdict struct {
	ok      bool
	message string
}

func (v verdict) marshal() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, successField, protowire.VarintType), protowire.EncodeBool(v.ok))
	return protowire.AppendString(protowire.AppendTag(b, messageField, protowire.BytesType), v.message)
}

func parseVerdict(b []byte) (v verdict, err error) {
	err = fields(b, func(n protowire.Number, text []byte, number uint64) {
		switch n {
		case successField:
			v.ok = protowire.DecodeBool(number)
		case messageField:
			v.message = string(text)
		}
	})
	return v, err
}

// fields calls take with each field of a message that is a text or a number.
func fields(b []byte, take func(n protowire.Number, text []byte, number uint64)) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return damaged(protowire.ParseError(size))
		}
		b = b[size:]
		switch kind {
		case protowire.VarintType:
			v, size := protowire.ConsumeVarint(b)
			if size < 0 {
				return damaged(protowire.ParseError(size))
			}
			take(n, nil, v)
			b = b[size:]
		case protowire.BytesType:
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return damaged(protowire.ParseError(size))
			}
			take(n, v, 0)
			b = b[size:]
		default:
			size := protowire.ConsumeFieldValue(n, kind, b)
			if size < 0 {
				return damaged(protowire.ParseError(size))
			}
			b = b[size:]
		}
	}
	return nil
}

func damaged(err error) error {
	return errs.Newf(errs.Invalid, "the other server sent a damaged message: %w", err)
}

// messageMax bounds a message of the control stream.
const messageMax = 1 << 20

// stream is a websocket as a stream of bytes that ends with a text message.
type stream struct {
	c    *websocket.Conn
	part io.Reader
}

// Write sends a binary message.
func (s *stream) Write(p []byte) (int, error) {
	if err := s.c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end tells the other side that nothing more comes.
func (s *stream) end() error { return s.c.WriteMessage(websocket.TextMessage, nil) }

// Read reads what comes, up to the end. A connection that breaks before is an error.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.part != nil {
			n, err := s.part.Read(p)
			if errors.Is(err, io.EOF) {
				s.part, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, err
			}
			continue
		}
		kind, r, err := s.c.NextReader()
		if err != nil {
			return 0, errs.Newf(errs.Unavailable, "the connection to the other server broke: %w", err)
		}
		if kind == websocket.TextMessage {
			return 0, io.EOF
		}
		s.part = r
	}
}
