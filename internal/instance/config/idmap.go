package config

import (
	"fmt"
	"strconv"
	"strings"

	"lxd/internal/errs"
)

// Pick is ids inside that raw.idmap wants to be certain ids of the host.
type Pick struct {
	Users, Groups      bool
	Host, Inside, Size int64
}

// ParseRawIDMap reads lines such as "both 1000 1000" and "uid 50-60 500-510": who, the host's ids, those inside. It fails with Invalid on
// what is no such line.
func ParseRawIDMap(text string) (picks []Pick, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p := Pick{Users: f[0] == "uid" || f[0] == "both", Groups: f[0] == "gid" || f[0] == "both"}
		if len(f) != 3 || !p.Users && !p.Groups {
			return nil, errs.Newf(errs.Invalid, "%q is not a line such as \"both 1000 1000\" or \"uid 50-60 500-510\"", line)
		}
		var size int64
		if p.Host, p.Size, err = ids(f[1]); err == nil {
			p.Inside, size, err = ids(f[2])
		}
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "%q: %w", line, err)
		}
		if size != p.Size {
			return nil, errs.Newf(errs.Invalid, "%q: %d ids of the host cannot be %d ids inside", line, p.Size, size)
		}
		picks = append(picks, p)
	}
	return picks, nil
}

// ids reads "5" and "5-9".
func ids(v string) (first, size int64, err error) {
	low, high, isRange := strings.Cut(v, "-")
	if !isRange {
		high = low
	}
	from, err1 := strconv.ParseInt(low, 10, 64)
	to, err2 := strconv.ParseInt(high, 10, 64)
	if err1 != nil || err2 != nil || from < 0 || to < from || to >= 1<<32-1 {
		return 0, 0, fmt.Errorf("%q is not an id or a range of ids from 0 to %d", v, int64(1<<32-2))
	}
	return from, to - from + 1, nil
}

func checkRawIDMap(v string) error {
	_, err := ParseRawIDMap(v)
	return err
}
