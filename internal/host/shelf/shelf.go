// Package shelf keeps files of one sort in several folders: each file lies in the folder of its owner, and is found by its name alone
// wherever it lies, so that folders can come and go while files are used.
package shelf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// partial begins the names of copies that are not complete.
const partial = ".partial-"

// Shelf is the folders. Its methods may be called at the same time.
type Shelf struct {
	base string

	mu      sync.RWMutex
	homes   map[string]string
	folders []string
	// busy is held while a file is moved or removed.
	busy sync.Mutex
	// drafts are the copies that are being written.
	drafting sync.Mutex
	drafts   map[string]bool
}

// New makes a shelf whose files lie in base unless their owner has a folder of its own; it has no effects.
func New(base string) *Shelf {
	return &Shelf{base: base, folders: []string{base}, drafts: map[string]bool{}}
}

// Base is the folder of those who have none of their own.
func (s *Shelf) Base() string { return s.base }

// Set says who has a folder, and which others may have files in them. From now on new files go there; Move brings the old ones.
func (s *Shelf) Set(homes map[string]string, others ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.homes, s.folders = homes, []string{s.base}
	for _, f := range homes {
		s.folders = append(s.folders, f)
	}
	s.folders = append(s.folders, others...)
	slices.Sort(s.folders[1:])
	s.folders = slices.Compact(s.folders)
}

// Folders are all that may have files in them.
func (s *Shelf) Folders() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.folders)
}

// Folder is where new files of an owner go.
func (s *Shelf) Folder(owner string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.homes[owner]; f != "" {
		return f
	}
	if f := s.homes[""]; f != "" {
		return f
	}
	return s.base
}

// Path is where the file of that name lies, or else where one of that owner would.
func (s *Shelf) Path(owner, name string) string {
	for _, dir := range s.Folders() {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return filepath.Join(s.Folder(owner), name)
}

// Settled tells whether the file of that name lies in the folder of its owner and nowhere else, so that Move has nothing to do.
func (s *Shelf) Settled(owner, name string) bool {
	home := s.Folder(owner)
	return !slices.ContainsFunc(s.Folders(), func(dir string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return dir != home && !errors.Is(err, fs.ErrNotExist)
	})
}

// Make makes the folders and removes what a crash left of copies. Those that are being written stay.
func (s *Shelf) Make() error {
	for _, dir := range s.Folders() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := s.clean(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shelf) clean(dir string) error {
	s.drafting.Lock()
	defer s.drafting.Unlock()
	left, err := filepath.Glob(filepath.Join(dir, partial+"*"))
	if err != nil {
		return err
	}
	for _, f := range left {
		if s.drafts[f] {
			continue
		}
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// draft makes the file that a copy is written to; done says that it is complete, or given up.
func (s *Shelf) draft(dir string) (f *os.File, done func(), err error) {
	s.drafting.Lock()
	defer s.drafting.Unlock()
	if f, err = os.CreateTemp(dir, partial); err != nil {
		return nil, nil, noSpace(err, dir)
	}
	s.drafts[f.Name()] = true
	return f, func() {
		s.drafting.Lock()
		defer s.drafting.Unlock()
		delete(s.drafts, f.Name())
	}, nil
}

// Names are the files in all folders, each once.
func (s *Shelf) Names() (names []string, err error) {
	for _, dir := range s.Folders() {
		there, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range there {
			if !strings.HasPrefix(e.Name(), partial) {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Open opens the file of that name wherever it lies, also if it is being moved.
func (s *Shelf) Open(name string) (f *os.File, err error) {
	for range 3 {
		if f, err = os.Open(s.Path("", name)); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

// Remove removes the file of that name from all folders; that there is none is no error.
func (s *Shelf) Remove(name string) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	for _, dir := range s.Folders() {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Put makes the file at from the one of that name and owner; from is gone then.
func (s *Shelf) Put(ctx context.Context, from, owner, name string) error {
	dir := s.Folder(owner)
	err := os.Rename(from, filepath.Join(dir, name))
	if errors.Is(err, unix.EXDEV) {
		if err = s.copyInto(ctx, from, dir, name); err == nil {
			err = os.Remove(from)
		}
	}
	if err != nil {
		return err
	}
	return syncFolder(dir)
}

// Keep makes the folders and brings every file of owners, which names whose each is, to the folder of its owner.
func (s *Shelf) Keep(ctx context.Context, owners map[string]string) error {
	if err := s.Make(); err != nil {
		return err
	}
	for name, owner := range owners {
		if err := s.Move(ctx, owner, name); err != nil {
			return err
		}
	}
	return nil
}

// Move brings the file of that name to the folder of its owner. It is complete in one of the folders at every moment.
func (s *Shelf) Move(ctx context.Context, owner, name string) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	home := s.Folder(owner)
	for _, dir := range s.Folders() {
		from := filepath.Join(dir, name)
		if _, err := os.Lstat(from); dir == home || errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := s.bring(ctx, from, home, name); err != nil {
			return err
		}
	}
	return nil
}

// bring copies a file into a folder that does not have it yet, and removes it where it was.
func (s *Shelf) bring(ctx context.Context, from, dir, name string) error {
	_, err := os.Lstat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		err = s.copyInto(ctx, from, dir, name)
	}
	if err != nil {
		return err
	}
	return os.Remove(from)
}

// copyInto copies a file, which appears in its folder only once it is complete and durable.
func (s *Shelf) copyInto(ctx context.Context, from, dir, name string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, done, err := s.draft(dir)
	if err != nil {
		return err
	}
	defer done()
	_, err = io.Copy(out, reader{ctx, in})
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(out.Name()) // what stays goes with the next Make
		return noSpace(err, dir)
	}
	return syncFolder(dir)
}

// reader ends with ctx.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func noSpace(err error, dir string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("no space left in %s: choose a larger volume, or delete something first: %w", dir, err)
	}
	return err
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
