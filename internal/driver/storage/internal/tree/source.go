package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/mount"
)

// Marker is the file that says whose pool a folder is.
const Marker = ".pool.json"

// Mark is the content of the marker.
type Mark struct {
	// Dir is where the pool's daemon shows it.
	Dir string `json:"dir"`
}

// Source is where a pool's files really are: its own folder, or one that the user chose.
type Source struct {
	// Dir is where the pool is shown, below the daemon's folder; Path is where its files are.
	Dir, Path string
	// Recover takes over a folder that has content, or that is another pool's.
	Recover bool
}

// Own says that the pool's files are in its own folder.
func (s Source) Own() bool { return s.Path == s.Dir }

// Claim checks that the source may be this pool and marks it as such. A folder that has the mark already is opened again.
func (s Source) Claim() error {
	if !s.Own() {
		if err := s.Check(); err != nil {
			return err
		}
	}
	m, err := ReadMark(s.Path)
	switch {
	case err == nil && m.Dir == s.Dir:
		return nil
	case err == nil && !s.Recover:
		return errs.Newf(errs.Invalid, "source %s is the storage pool of %s already: choose another folder, or set source.recover=true to take it over", s.Path, m.Dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("source %s: %w", s.Path, err)
	case err != nil && !s.Recover:
		if err := s.mustBeEmpty(); err != nil {
			return err
		}
	}
	b, err := json.Marshal(Mark{Dir: s.Dir})
	if err != nil {
		return err
	}
	return ReplaceFile(filepath.Join(s.Path, Marker), b)
}

// Check fails with Invalid if the source, which is not the pool's own folder, cannot be a pool.
func (s Source) Check() error {
	if !filepath.IsAbs(s.Path) {
		return errs.Newf(errs.Invalid, "source %q is no absolute path: write it from / on", s.Path)
	}
	st, err := os.Lstat(s.Path)
	if errors.Is(err, os.ErrNotExist) {
		return errs.Newf(errs.Invalid, "source %s does not exist: make the folder first", s.Path)
	}
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(s.Path)
	if err != nil {
		return err
	}
	if !st.IsDir() || real != s.Path {
		return errs.Newf(errs.Invalid, "source %s is no folder, or leads through a symbolic link: name the folder itself (%s)", s.Path, real)
	}
	// dir is LXD_DIR/storage-pools/NAME: nothing else below LXD_DIR may be a pool, nor may a pool contain it.
	state := filepath.Dir(filepath.Dir(s.Dir))
	if Within(s.Path, state) || Within(state, s.Path) {
		return errs.Newf(errs.Invalid, "source %s and the daemon's own folder %s contain one another: choose a folder elsewhere", s.Path, state)
	}
	for up := filepath.Dir(s.Path); ; up = filepath.Dir(up) {
		if m, err := ReadMark(up); err == nil {
			return errs.Newf(errs.Invalid, "source %s lies inside another storage pool (%s): choose a folder elsewhere", s.Path, m.Dir)
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

func (s Source) mustBeEmpty() error {
	entries, err := os.ReadDir(s.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return errs.Newf(errs.Invalid, "source %s is not empty (it has %q): empty it or choose another folder", s.Path, e.Name())
		}
	}
	return nil
}

// Show makes a source elsewhere visible at the pool's folder, so that a container needs no way through the folders above the source.
func (s Source) Show() error {
	if s.Own() {
		return nil
	}
	if there, err := mount.At(s.Dir); err != nil || there {
		return err
	}
	t, err := mount.Open(s.Path, false)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Private(); err != nil {
		return err
	}
	return t.Attach(s.Dir)
}

// ReadMark reads the marker in a folder; without one the error is os.ErrNotExist.
func ReadMark(dir string) (m Mark, err error) {
	b, err := os.ReadFile(filepath.Join(dir, Marker))
	if errors.Is(err, unix.ENOTDIR) {
		err = os.ErrNotExist
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// Within tells whether path is top or lies in it.
func Within(path, top string) bool {
	return path == top || strings.HasPrefix(path, strings.TrimSuffix(top, "/")+"/")
}
