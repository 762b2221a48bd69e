package btrfs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/host/fs"
	"lxd/internal/host/run"
	"lxd/internal/storage"
)

// received begins the names of folders that streams are received in.
const received = "receive-"

// Bounds on the first line of a stream, which says what follows.
const (
	format     = "lxd btrfs 1"
	headerSize = 1 << 20
)

// header is the first line of a stream. What "btrfs send" wrote of each part follows, without anything in between.
type header struct {
	Format string `json:"format"`
	// ID tells streams apart. What a part builds on is found by numbers that are the same whenever one is received: never twice at a time.
	ID string `json:"id"`
	// Parts are subvolumes: of each snapshot in order, and then of the volume, first its own and then those within.
	Parts []part `json:"parts"`
}

type part struct {
	// Snapshot is the snapshot that the subvolume is of; "" is the volume itself.
	Snapshot string `json:"snapshot,omitempty"`
	// Path is where it is in that; "" is its top.
	Path string `json:"path,omitempty"`
}

// Send writes the volume with those of its snapshots. Of each only what has changed since the one before is sent.
func (p *pool) Send(ctx context.Context, v storage.Volume, kept []string, w io.Writer) (err error) {
	stage, err := os.MkdirTemp(filepath.Join(p.dir, tmp), "send-")
	if err != nil {
		return tree.Full(err)
	}
	defer func() { err = errors.Join(err, p.bin(stage)) }()
	parts, err := p.frozen(v, kept, stage)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(header{format, rand.Text(), parts}); err != nil {
		return err
	}
	return p.each(parts, stage, func(_ part, args []string) error { return p.send(ctx, args, w) })
}

// each calls do with the parts in order, and with how the program is to be called to write each of them.
func (p *pool) each(parts []part, stage string, do func(part part, args []string) error) error {
	before := map[string]int{} // by path
	for i, part := range parts {
		args := []string{"send", "--quiet"}
		if b, ok := before[part.Path]; ok {
			args = append(args, "-p", filepath.Join(stage, strconv.Itoa(b)))
		}
		if err := do(part, append(args, filepath.Join(stage, strconv.Itoa(i)))); err != nil {
			return err
		}
		before[part.Path] = i
	}
	return nil
}

// frozen makes read-only snapshots of all that is to be sent, called by their place in the result.
func (p *pool) frozen(v storage.Volume, kept []string, stage string) (parts []part, err error) {
	folder, err := p.folder(v)
	if err != nil {
		return nil, err
	}
	defer p.locks.Read(folder)()
	for _, name := range append(slices.Clone(kept), "") {
		at := v.At(name)
		if name == "" {
			at = v // may be a snapshot that stands for the volume
		}
		_, path, err := p.path(at)
		if err != nil {
			return nil, err
		}
		if err := missing(path, at); err != nil {
			return nil, err
		}
		if o, err := readOwners(path); err != nil || o.Shifted {
			return nil, errors.Join(err, errs.Newf(errs.Unsupported, "the files of volume %q have owners of this host: copy it instead", v.Name))
		}
		if path, err = still(path, name, stage); err != nil {
			return nil, tree.Full(err)
		}
		within, err := btrfs.Within(path)
		if err != nil {
			return nil, err
		}
		for _, sub := range append([]string{""}, within...) {
			if err := btrfs.SnapshotReadOnly(filepath.Join(path, sub), filepath.Join(stage, strconv.Itoa(len(parts)))); err != nil {
				return nil, tree.Full(err)
			}
			parts = append(parts, part{name, sub})
		}
	}
	return parts, nil
}

// still is where the content can be walked through: what a container may use at the time is copied first if there is anything to walk.
func still(path, snapshot, stage string) (string, error) {
	within, err := btrfs.Within(path)
	if err != nil || len(within) == 0 || snapshot != "" {
		return path, err
	}
	at := filepath.Join(stage, "still")
	return at, btrfs.Snapshot(path, at)
}

// send runs the program that writes a subvolume.
func (p *pool) send(ctx context.Context, args []string, w io.Writer) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer from.Close()
	return p.program(ctx, run.Call{Args: args, Stdout: to}, to, func() error {
		_, err := io.Copy(w, from)
		return err
	})
}

// program runs btrfs while carry moves its data. theirs is the end of the pipe that is the program's: it is closed here.
func (p *pool) program(ctx context.Context, c run.Call, theirs *os.File, carry func() error) error {
	path, ok := run.Look("btrfs")
	if !ok {
		return errors.Join(errs.Newf(errs.Unsupported, "the program btrfs is missing: install btrfs-progs"), theirs.Close())
	}
	said, err := os.CreateTemp(filepath.Join(p.dir, tmp), "said-")
	if err != nil {
		return errors.Join(tree.Full(err), theirs.Close())
	}
	defer said.Close()
	if err := os.Remove(said.Name()); err != nil {
		return errors.Join(err, theirs.Close())
	}
	c.Path, c.Stderr = path, said
	child, err := run.Spawn(c)
	theirs.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = child.Kill() }) // one that has ended needs none
	defer stop()
	carried := carry()
	if carried != nil {
		_ = child.Kill() // likewise
	}
	code, err := child.Wait(context.WithoutCancel(ctx))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || code == 0:
		return errors.Join(err, carried)
	}
	text := make([]byte, 500)
	n, _ := said.ReadAt(text, 0)
	return errors.Join(fmt.Errorf("btrfs %s ended with code %d: %s", c.Args[0], code, text[:n]), carried)
}

// Receive makes the volume and its snapshots of what Send wrote, all at once. The stream may come from anywhere: what it makes is confined to
// a folder of its own, and loses what an archive could not bring either.
func (p *pool) Receive(ctx context.Context, v storage.Volume, r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	h, err := readHeader(in)
	if err != nil {
		return err
	}
	return p.arrive(ctx, v, h.ID, func(inbox string) ([]part, error) { return h.Parts, p.receive(ctx, inbox, in) })
}

// arrive makes the volume of parts that receive has made in an inbox, where they are called by their place in its result. Of two arrivals
// with the same id one waits for the other.
func (p *pool) arrive(ctx context.Context, v storage.Volume, id string, receive func(inbox string) ([]part, error)) error {
	folder, path, err := p.path(v)
	if err != nil {
		return err
	}
	if v.Snapshot != "" {
		return errs.Newf(errs.Unsupported, "a stream makes a volume with its snapshots: it cannot become snapshot %q", v.Snapshot)
	}
	defer p.locks.Write(folder)()
	defer p.streams.Write(id)()
	if err := free(path, v); err != nil {
		return err
	}
	// a subvolume, since the program finds what a part builds on from the top of the one that it is confined to
	inbox, err := p.inbox()
	if err != nil {
		return tree.Full(err)
	}
	defer func() {
		if destroy(inbox) != nil {
			p.scrap(inbox)
		}
	}()
	parts, err := receive(inbox)
	if err != nil {
		return err
	}
	return p.build(v, func(made string) error { return p.assemble(ctx, parts, inbox, made, v) },
		func(stage string) error { return p.place(stage, folder, v) })
}

func (p *pool) inbox() (string, error) {
	top, err := os.MkdirTemp(filepath.Join(p.dir, tmp), received)
	if err != nil {
		return "", err
	}
	inbox := filepath.Join(top, "in")
	if err := btrfs.Create(inbox); err != nil {
		return "", errors.Join(err, os.Remove(top))
	}
	return top, nil
}

// receive runs the program that makes subvolumes of a stream.
func (p *pool) receive(ctx context.Context, inbox string, r io.Reader) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	args := []string{"receive", "--quiet", "--chroot", filepath.Join(inbox, "in")}
	err = p.program(ctx, run.Call{Args: args, Stdin: from}, from, func() error {
		_, err := io.Copy(to, r)
		err = errors.Join(err, to.Close())
		if errors.Is(err, unix.EPIPE) {
			return nil // the program says why
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		var st unix.Statfs_t
		if unix.Statfs(p.dir, &st) == nil && st.Bavail == 0 {
			return tree.Full(fmt.Errorf("%w: %w", unix.ENOSPC, err))
		}
		return errs.Newf(errs.Invalid, "the stream cannot be received: %w", err)
	}
	return err
}

// assemble makes the volume and its snapshots of the parts that have come.
func (p *pool) assemble(ctx context.Context, parts []part, inbox, made string, v storage.Volume) error {
	stage := filepath.Dir(made)
	if err := keepFolder(stage); err != nil {
		return err
	}
	for i, part := range parts {
		top := made
		if part.Snapshot != "" {
			top = filepath.Join(stage, snapshots, part.Snapshot)
		}
		came := filepath.Join(inbox, "in", strconv.Itoa(i))
		var err error
		if part.Path == "" {
			err = btrfs.Snapshot(came, top)
		} else {
			err = btrfs.Graft(came, top, part.Path)
		}
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENOTDIR) {
			return errs.Newf(errs.Invalid, "the stream lacks what it says that it has: %w", err)
		}
		if err != nil {
			return err
		}
		if err := p.clean(ctx, filepath.Join(top, part.Path), part.Path == "", v); err != nil {
			return err
		}
	}
	kept, err := os.ReadDir(filepath.Join(stage, snapshots))
	for _, k := range kept {
		if err == nil {
			err = btrfs.Seal(filepath.Join(stage, snapshots, k.Name()), true)
		}
	}
	return err
}

// clean takes from a subvolume that came what the host must not have; the top of a volume must look like one.
func (p *pool) clean(ctx context.Context, path string, top bool, v storage.Volume) error {
	if err := fs.Disarm(ctx, path); err != nil || !top {
		return err
	}
	if err := tree.Settle(path, ownersFile, ownersFile+".new"); err != nil {
		return err
	}
	return p.give(ctx, path, v.IDMap)
}

// readHeader reads and checks the first line.
func readHeader(r *bufio.Reader) (h header, err error) {
	var line []byte
	for err == nil && !bytes.HasSuffix(line, []byte("\n")) && len(line) < headerSize {
		var c byte
		if c, err = r.ReadByte(); err == nil {
			line = append(line, c)
		}
	}
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil || h.Format != format {
		return h, errs.Newf(errs.Invalid, "the stream is none of a btrfs pool (its first line has not %q)", format)
	}
	return h, h.check()
}

// check refuses parts that Send would not have named, or not in that order.
func (h header) check() error {
	seen := map[part]bool{}
	last := ""
	for i, p := range h.Parts {
		top := part{Snapshot: p.Snapshot}
		begins := i == 0 || p.Snapshot != last
		if !p.possible() || seen[p] || begins && seen[top] || p != top && !seen[top] {
			return errs.Newf(errs.Invalid, "the stream has a part that cannot be: snapshot %q, path %q", p.Snapshot, p.Path)
		}
		seen[p], last = true, p.Snapshot
	}
	if !seen[part{}] {
		return errs.Newf(errs.Invalid, "the stream has no volume")
	}
	return nil
}

// possible tells whether the names can be those of a subvolume and a snapshot.
func (p part) possible() bool {
	if p.Snapshot != "" && !tree.Plain(p.Snapshot) {
		return false
	}
	return p.Path == "" || filepath.IsLocal(p.Path) && filepath.Clean(p.Path) == p.Path && p.Path != "."
}
