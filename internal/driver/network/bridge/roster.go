package bridge

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// roster is the files that tell dnsmasq of hosts: one a port, of one line. It remembers what it wrote, so that a change of one
// among thousands is one write. dnsmasq takes note of a new file by itself; for one that changed or went it must be told to read
// all again, which its methods report as stale.
type roster struct {
	mu sync.Mutex
	// lines holds the content by file; nil means that the folder must be looked at.
	lines map[string]string
	// connected are the files of ports that are plugged in. set leaves these: its caller may have looked around before they were.
	connected map[string]bool
}

// doubt makes the next set look at the folder.
func (r *roster) doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = nil
}

// set makes the files those of want.
func (r *roster) set(dir string, want map[string]string) (stale bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(dir); err != nil {
		return false, err
	}
	all := maps.Clone(want)
	if all == nil {
		all = map[string]string{}
	}
	for _, f := range slices.Sorted(maps.Keys(r.lines)) {
		if _, ok := want[f]; ok {
			continue
		}
		if r.connected[f] {
			all[f] = natural(f, r.lines[f])
			continue
		}
		if err := r.remove(f); err != nil {
			return false, err
		}
		stale = true
	}
	replaced, err := r.writeAll(distinct(all))
	return stale || replaced, err
}

func (r *roster) writeAll(lines map[string]string) (stale bool, err error) {
	for _, f := range slices.Sorted(maps.Keys(lines)) {
		replaced, err := r.write(f, lines[f])
		if err != nil {
			return false, err
		}
		stale = stale || replaced
	}
	return stale, nil
}

// namesakes are the natural lines of a port and of those that have its name too.
func (r *roster) namesakes(file, line string) map[string]string {
	same := map[string]string{file: line}
	_, name := label(line)
	for f, text := range r.lines {
		if f == file || name == "" || !strings.Contains(text, ","+name) {
			continue
		}
		text = natural(f, text)
		if _, other := label(text); other == name {
			same[f] = text
		}
	}
	return same
}

// add writes the file of a port that is plugged in. Files of other ports that have one of its own parts go: those ports are of
// machines that are gone, and dnsmasq takes an address from the first file that has it only.
func (r *roster) add(file, line string, own []string) (stale bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(filepath.Dir(file)); err != nil {
		return false, err
	}
	if len(own) > 0 {
		for f, text := range r.lines {
			taken := slices.ContainsFunc(strings.Split(strings.TrimSpace(text), ","), func(part string) bool { return slices.Contains(own, part) })
			if f != file && taken {
				if err := r.remove(f); err != nil {
					return false, err
				}
				stale = true
			}
		}
	}
	if r.connected == nil {
		r.connected = map[string]bool{}
	}
	r.connected[file] = true
	replaced, err := r.writeAll(distinct(r.namesakes(file, line)))
	return stale || replaced, err
}

// leave notes that a port was unplugged; its file stays until set finds that the port is gone.
func (r *roster) leave(file string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connected, file)
}

func (r *roster) load(dir string) error {
	if r.lines != nil {
		return nil
	}
	lines := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		lines[f] = string(b)
	}
	r.lines = lines
	return nil
}

// write makes the file hold the line, and tells whether it held another.
func (r *roster) write(file, line string) (replaced bool, err error) {
	old, had := r.lines[file]
	if had && old == line {
		return false, nil
	}
	if _, err := replaceFile(file, line); err != nil {
		return false, err
	}
	r.lines[file] = line
	return had, nil
}

func (r *roster) remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	delete(r.lines, file)
	delete(r.connected, file)
	return nil
}
