package dir

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

// marker is the file that says whose pool a folder is.
const marker = ".pool.json"

// mark is the content of the marker.
type mark struct {
	// Dir is where the pool's daemon shows it.
	Dir string `json:"dir"`
}

// source is where a pool's files really are: its own folder, or one that the user chose.
type source struct {
	dir, path string
	recover   bool
}

func (s source) own() bool { return s.path == s.dir }

// claim checks that the source may be this pool and marks it as such. A folder that has the mark already is opened again.
func (s source) claim() error {
	if !s.own() {
		if err := s.check(); err != nil {
			return err
		}
	}
	m, err := readMark(s.path)
	switch {
	case err == nil && m.Dir == s.dir:
		return nil
	case err == nil && !s.recover:
		return errs.Newf(errs.Invalid, "source %s is the storage pool of %s already: choose another folder, or set source.recover=true to take it over", s.path, m.Dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("source %s: %w", s.path, err)
	case err != nil && !s.recover:
		if err := s.mustBeEmpty(); err != nil {
			return err
		}
	}
	b, err := json.Marshal(mark{Dir: s.dir})
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.path, marker), b)
}

func (s source) check() error {
	if !filepath.IsAbs(s.path) {
		return errs.Newf(errs.Invalid, "source %q is no absolute path: write it from / on", s.path)
	}
	st, err := os.Lstat(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return errs.Newf(errs.Invalid, "source %s does not exist: make the folder first", s.path)
	}
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return err
	}
	if !st.IsDir() || real != s.path {
		return errs.Newf(errs.Invalid, "source %s is no folder, or leads through a symbolic link: name the folder itself (%s)", s.path, real)
	}
	// dir is LXD_DIR/storage-pools/NAME: nothing else below LXD_DIR may be a pool, nor may a pool contain it.
	state := filepath.Dir(filepath.Dir(s.dir))
	if within(s.path, state) || within(state, s.path) {
		return errs.Newf(errs.Invalid, "source %s and the daemon's own folder %s contain one another: choose a folder elsewhere", s.path, state)
	}
	for up := filepath.Dir(s.path); ; up = filepath.Dir(up) {
		if m, err := readMark(up); err == nil {
			return errs.Newf(errs.Invalid, "source %s lies inside another storage pool (%s): choose a folder elsewhere", s.path, m.Dir)
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

func (s source) mustBeEmpty() error {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return errs.Newf(errs.Invalid, "source %s is not empty (it has %q): empty it or choose another folder", s.path, e.Name())
		}
	}
	return nil
}

// show makes a source elsewhere visible at the pool's folder, so that a container needs no way through the folders above the source.
func (s source) show() error {
	if s.own() {
		return nil
	}
	if there, err := mount.At(s.dir); err != nil || there {
		return err
	}
	t, err := mount.Open(s.path, false)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Private(); err != nil {
		return err
	}
	return t.Attach(s.dir)
}

func readMark(dir string) (m mark, err error) {
	b, err := os.ReadFile(filepath.Join(dir, marker))
	if errors.Is(err, unix.ENOTDIR) {
		err = os.ErrNotExist
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// within tells whether path is top or lies in it.
func within(path, top string) bool {
	return path == top || strings.HasPrefix(path, strings.TrimSuffix(top, "/")+"/")
}

// replaceFile writes a file so that readers see the old or the new content, never a part.
func replaceFile(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
