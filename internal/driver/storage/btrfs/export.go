package btrfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// Export hands out what "btrfs send" writes of the volume and its snapshots. Of each only what has changed since the one before is sent.
func (p *pool) Export(ctx context.Context, v storage.Volume, kept []string, to storage.PartWriter) (err error) {
	stage, err := os.MkdirTemp(filepath.Join(p.dir, tmp), "send-")
	if err != nil {
		return tree.Full(err)
	}
	defer func() { err = errors.Join(err, p.bin(stage)) }()
	parts, err := p.frozen(v, kept, stage)
	if err != nil {
		return err
	}
	all := make([]storage.Part, len(parts))
	for i, part := range parts {
		all[i] = storage.Part(part)
	}
	if err := to.Begin(all); err != nil {
		return err
	}
	return p.each(parts, stage, func(part part, args []string) error {
		return to.Put(storage.Part(part), func(w io.Writer) error { return p.send(ctx, args, w) })
	})
}

// Import makes the volume and its snapshots of such streams, which may come from anywhere.
func (p *pool) Import(ctx context.Context, v storage.Volume, next func() (storage.Part, io.Reader, error)) error {
	at, r, err := next()
	if errors.Is(err, io.EOF) {
		return errs.Newf(errs.Invalid, "there is no stream of a volume")
	}
	if err != nil {
		return err
	}
	in, id, err := retitled(r, "0")
	if err != nil {
		return err
	}
	return p.arrive(ctx, v, id, func(inbox string) (parts []part, err error) {
		for {
			parts = append(parts, part(at))
			if err := p.receive(ctx, inbox, in); err != nil {
				return nil, err
			}
			at, r, err = next()
			if errors.Is(err, io.EOF) {
				return parts, header{Parts: parts}.check()
			}
			if err == nil {
				in, _, err = retitled(r, strconv.Itoa(len(parts)))
			}
			if err != nil {
				return nil, err
			}
		}
	})
}

// How a stream begins: with its magic and its version, and the command that names the subvolume that it makes. A command has a size, a
// number, and a sum over all of it; then come its attributes, each with its number and its size.
const (
	magic                            = "btrfs-stream\x00"
	commandSize                      = 10
	makeCommand, makeSnapshotCommand = 1, 2
	uuidAttribute, pathAttribute     = 1, 15
	firstMax                         = 16 << 10
)

// castagnoli is the polynomial of the sums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// retitled is a stream whose subvolume gets another name, and the number by which others refer to that.
func retitled(r io.Reader, name string) (stream io.Reader, id string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head := make([]byte, len(magic)+4+commandSize)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(magic)]) != magic {
		return nil, "", damaged(err)
	}
	command := head[len(magic)+4:]
	size, number := binary.LittleEndian.Uint32(command), binary.LittleEndian.Uint16(command[4:])
	if size > firstMax || number != makeCommand && number != makeSnapshotCommand {
		return nil, "", damaged(nil)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, "", damaged(err)
	}
	if sum(command, body) != binary.LittleEndian.Uint32(command[6:]) {
		return nil, "", damaged(nil)
	}
	body, id, err = titled(body, name)
	if err != nil {
		return nil, "", err
	}
	binary.LittleEndian.PutUint32(command, uint32(len(body))) //nolint:gosec // bounded above
	binary.LittleEndian.PutUint32(command[6:], sum(command, body))
	return io.MultiReader(bytes.NewReader(head), bytes.NewReader(body), in), id, nil
}

// titled is the attributes with another name in place of the one that they have, and the number among them.
func titled(body []byte, name string) (out []byte, id string, err error) {
	found := false
	for len(body) > 0 {
		if len(body) < 4 {
			return nil, "", damaged(nil)
		}
		kind, size := binary.LittleEndian.Uint16(body), int(binary.LittleEndian.Uint16(body[2:]))
		if len(body) < 4+size {
			return nil, "", damaged(nil)
		}
		value := body[4 : 4+size]
		body = body[4+size:]
		switch kind {
		case pathAttribute:
			if found {
				return nil, "", damaged(nil)
			}
			found, value = true, []byte(name)
		case uuidAttribute:
			id = hex.EncodeToString(value)
		}
		out = binary.LittleEndian.AppendUint16(out, kind)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(value))) //nolint:gosec // it was read from two bytes, or is a short name
		out = append(out, value...)
	}
	if !found || id == "" {
		return nil, "", damaged(nil)
	}
	return out, id, nil
}

// sum is that of a command, whose own sum counts as 0. The kernel inverts it neither before nor after.
func sum(command, body []byte) uint32 {
	head := [commandSize]byte{}
	copy(head[:6], command)
	return ^crc32.Update(crc32.Update(^uint32(0), castagnoli, head[:]), castagnoli, body)
}

// damaged explains a stream that begins in another way, or an error of who sends it.
func damaged(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return errs.Newf(errs.Invalid, "the stream is none that \"btrfs send\" writes, or is damaged")
}
