package idmap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Host reads which ids the host reserves for root in etc/subuid and etc/subgid (etc is "/etc"). A range counts only as far as both
// have it. Without such a range of at least 65536 ids it is the Default.
func Host(etc string) (Map, error) {
	var both [2][]Range
	for i, name := range []string{"subuid", "subgid"} {
		f, err := os.Open(etc + "/" + name)
		if errors.Is(err, os.ErrNotExist) {
			return Default(), nil
		}
		if err != nil {
			return nil, err
		}
		both[i], err = Parse(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	best := Range{}
	for _, u := range both[0] {
		for _, g := range both[1] {
			from, end := max(u.Host, g.Host), min(u.Host+u.Size, g.Host+g.Size)
			if end-from > best.Size {
				best = Range{Host: from, Size: end - from}
			}
		}
	}
	const least = 65536
	if best.Size < least {
		return Default(), nil
	}
	return Map{best}, Map{best}.Validate()
}

// Parse reads the lines of a subuid file that belong to root, by name or number.
func Parse(r io.Reader) (out []Range, err error) {
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		f := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(f) != 3 || f[0] != "root" && f[0] != "0" {
			continue
		}
		host, err1 := strconv.ParseInt(f[1], 10, 64)
		size, err2 := strconv.ParseInt(f[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("line %d: must be root:FIRST:COUNT: %w", n, err)
		}
		out = append(out, Range{Host: host, Size: size})
	}
	return out, s.Err()
}
