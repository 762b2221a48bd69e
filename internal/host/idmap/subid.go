package idmap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"lxd/internal/errs"
)

// least is how few ids a system needs: up to nobody's, which is 65534.
const least = 65536

// Host says which ids root may give to containers: those that etc/subuid and etc/subgid (etc is "/etc") reserve for it, as far as both
// have them and as far as there are such ids at all, which proc/uid_map and proc/gid_map (proc is "/proc/self") say: in a container
// there are fewer. Without such a range of at least 65536 ids it is the Default, cut in the same way, or else the largest range that
// is there and free. If that is too small also, the error is Unavailable.
func Host(etc, proc string) (Map, error) {
	reserved, err := both(etc+"/subuid", etc+"/subgid", Parse)
	if err != nil {
		return nil, err
	}
	there, err := both(proc+"/uid_map", proc+"/gid_map", parseOwn)
	if err != nil {
		return nil, err
	}
	beyond := []Range{{Host: least, Size: math.MaxUint32 - least}}
	for _, wanted := range [][]Range{reserved, Default(), beyond} {
		if best := largest(shared(wanted, there)); best.Size >= least {
			return Map{best}, Map{best}.Validate()
		}
	}
	return nil, errs.Newf(errs.Unavailable, "only the ids %v are there for root, and containers need %d of their own: "+
		"give the container that this runs in more ids", there, least)
}

// Reserved are the ids that etc/subuid and etc/subgid (etc is "/etc") both reserve for root; none if they name none.
func Reserved(etc string) ([]Range, error) { return both(etc+"/subuid", etc+"/subgid", Parse) }

// both are the ranges that are in the file about users as well as in that about groups; if one is missing there are none.
func both(users, groups string, parse func(io.Reader) ([]Range, error)) ([]Range, error) {
	var found [2][]Range
	for i, name := range []string{users, groups} {
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		found[i], err = parse(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return shared(found[0], found[1]), nil
}

// shared are the host's ids that are in both lists.
func shared(a, b []Range) (out []Range) {
	for _, x := range a {
		for _, y := range b {
			from, end := max(x.Host, y.Host), min(x.Host+x.Size, y.Host+y.Size)
			if from < end {
				out = append(out, Range{Host: from, Size: end - from})
			}
		}
	}
	return out
}

func largest(all []Range) (best Range) {
	for _, r := range all {
		if r.Size > best.Size {
			best = r
		}
	}
	return best
}

// parseOwn reads the kernel's list of the ids that there are. Their numbers further out do not matter here.
func parseOwn(r io.Reader) (out []Range, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		var first, outside, size int64
		if _, err := fmt.Sscan(s.Text(), &first, &outside, &size); err != nil {
			return nil, fmt.Errorf("%q: %w", s.Text(), err)
		}
		out = append(out, Range{Host: first, Size: size})
	}
	return out, s.Err()
}

// ParseMap reads the map of a process's user namespace, as in /proc/PID/uid_map.
func ParseMap(r io.Reader) (m Map, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		var e Range
		if _, err := fmt.Sscan(s.Text(), &e.Inside, &e.Host, &e.Size); err != nil {
			return nil, fmt.Errorf("%q: %w", s.Text(), err)
		}
		m = append(m, e)
	}
	return m, s.Err()
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
