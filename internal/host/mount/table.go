package mount

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Info is one line of the mount table.
type Info struct {
	ID, Parent int
	// Root is the folder of the file system that is shown at Path.
	Root, Path string
	FSType     string
	Source     string
	// Options are those of the mount, Super those of the file system.
	Options, Super string
	// Shared says that mounts below it reach its peers in other namespaces.
	Shared bool
}

// Table lists the mounts of this process's namespace, in the order that they were made.
func Table() ([]Info, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(f)
}

// Below lists the mounts at or below path, the last made first: the order to unmount them in.
func Below(path string) ([]Info, error) {
	all, err := Table()
	if err != nil {
		return nil, err
	}
	var out []Info
	for i := len(all) - 1; i >= 0; i-- {
		if p := all[i].Path; p == path || strings.HasPrefix(p, strings.TrimSuffix(path, "/")+"/") {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// UnmountBelow takes away all that is mounted at or below path.
func UnmountBelow(path string) error {
	all, err := Below(path)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := Unmount(m.Path); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads a table in the format of /proc/PID/mountinfo.
func Parse(r io.Reader) ([]Info, error) {
	var out []Info
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		m, err := parseLine(s.Text())
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, s.Err()
}

func parseLine(line string) (Info, error) {
	head, tail, ok := strings.Cut(line, " - ")
	h, t := strings.Fields(head), strings.Fields(tail)
	if !ok || len(h) < 6 || len(t) < 2 {
		return Info{}, fmt.Errorf("mount table line %q has an unknown form", line)
	}
	id, err1 := strconv.Atoi(h[0])
	up, err2 := strconv.Atoi(h[1])
	if err1 != nil || err2 != nil {
		return Info{}, fmt.Errorf("mount table line %q has no numbers", line)
	}
	m := Info{ID: id, Parent: up, Root: unescape(h[3]), Path: unescape(h[4]), Options: h[5], FSType: t[0], Source: unescape(t[1])}
	if len(t) > 2 {
		m.Super = t[2]
	}
	for _, tag := range h[6:] {
		m.Shared = m.Shared || strings.HasPrefix(tag, "shared:")
	}
	return m, nil
}

// unescape undoes the kernel's octal escapes of blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
