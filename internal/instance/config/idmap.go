package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/idmap"
	"lxd/internal/machine"
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

// isolatedSize is how many ids an instance has that shares none with others, and says no more.
const isolatedSize = 65536

// IDMap is the map that a configuration asks for out of the ids that host gives to containers; none means privileged. base is where the ids of
// an instance that shares none with others begin; until it is known, 0, they are those of all. It fails with Invalid on what cannot be.
func IDMap(keys map[string]string, host []machine.IDRange, base int64) ([]machine.IDRange, error) {
	if Keys.Bool(keys, "security.privileged") || len(host) == 0 {
		return nil, nil
	}
	whole := host[0]
	if Isolated(keys) && base > 0 {
		whole.Host, whole.Size = base, IsolatedSize(keys)
	} else if n := number(keys, "security.idmap.size"); n > 0 {
		whole.Size = min(n, whole.Size)
	}
	picks, err := Picked(keys["raw.idmap"])
	if err != nil {
		return nil, err
	}
	left := []machine.IDRange{whole}
	for _, p := range picks {
		left = cut(left, p)
	}
	all := append(left, picks...)
	slices.SortFunc(all, func(a, b machine.IDRange) int { return cmp.Compare(a.Inside, b.Inside) })
	var check idmap.Map
	for _, r := range all {
		check = append(check, idmap.Range(r))
	}
	if err := check.Validate(); err != nil {
		return nil, errs.Newf(errs.Invalid, "raw.idmap: %w", err)
	}
	return all, nil
}

// Isolated tells whether an instance shares its ids with no other.
func Isolated(keys map[string]string) bool {
	return Keys.Bool(keys, "security.idmap.isolated") && !Keys.Bool(keys, "security.privileged")
}

// IsolatedSize is how many ids such an instance has.
func IsolatedSize(keys map[string]string) int64 {
	if n := number(keys, "security.idmap.size"); n > 0 {
		return n
	}
	return isolatedSize
}

// IsolatedBase is where its ids are to begin; 0 leaves that to the server.
func IsolatedBase(keys map[string]string) int64 { return number(keys, "security.idmap.base") }

func number(keys map[string]string, key string) int64 {
	n, _ := strconv.ParseInt(keys[key], 10, 64) // the key was validated; an unset one is 0
	return n
}

// cut takes ids inside away from ranges.
func cut(all []machine.IDRange, p machine.IDRange) (left []machine.IDRange) {
	for _, r := range all {
		if before := min(p.Inside, r.Inside+r.Size) - r.Inside; before > 0 {
			left = append(left, machine.IDRange{Host: r.Host, Inside: r.Inside, Size: before})
		}
		if from := max(p.Inside+p.Size, r.Inside); from < r.Inside+r.Size {
			left = append(left, machine.IDRange{Host: r.Host + from - r.Inside, Inside: from, Size: r.Inside + r.Size - from})
		}
	}
	return left
}

// Picked are the ranges of raw.idmap. Users and groups have one map here, so that what is asked for one must be asked for the other.
func Picked(text string) ([]machine.IDRange, error) {
	picks, err := ParseRawIDMap(text)
	if err != nil {
		return nil, err
	}
	var users, groups []machine.IDRange
	for _, p := range picks {
		r := machine.IDRange{Host: p.Host, Inside: p.Inside, Size: p.Size}
		if p.Users {
			users = append(users, r)
		}
		if p.Groups {
			groups = append(groups, r)
		}
	}
	order := func(a, b machine.IDRange) int { return cmp.Compare(a.Inside, b.Inside) }
	slices.SortFunc(users, order)
	slices.SortFunc(groups, order)
	if !slices.Equal(users, groups) {
		return nil, errs.Newf(errs.Invalid, "raw.idmap: users and groups cannot be mapped apart yet by this server: map both, as in \"both 1000 1000\"")
	}
	return users, nil
}

// Permitted fails with Invalid if raw.idmap asks for ids of the host that are not root's to give; none reserved permits all.
func Permitted(keys map[string]string, reserved []machine.IDRange) error {
	picks, err := Picked(keys["raw.idmap"])
	if err != nil || len(reserved) == 0 {
		return err
	}
	for _, p := range picks {
		inside := func(r machine.IDRange) bool { return p.Host >= r.Host && p.Host+p.Size <= r.Host+r.Size }
		if !slices.ContainsFunc(reserved, inside) {
			return errs.Newf(errs.Invalid, "raw.idmap: root may not give the host's ids %d to %d to containers: add the line root:%d:%d to /etc/subuid and /etc/subgid",
				p.Host, p.Host+p.Size-1, p.Host, p.Size)
		}
	}
	return nil
}

// FreeBase is where size ids begin that nobody uses, out of those that host gives to containers. The first 65536 are left to instances that share.
func FreeBase(host []machine.IDRange, used []machine.IDRange, wanted, size int64) (int64, error) {
	if len(host) == 0 {
		return 0, errs.Newf(errs.Invalid, "this host has no ids for containers")
	}
	whole := host[0]
	free := func(base int64) (machine.IDRange, bool) {
		for _, u := range used {
			if base < u.Host+u.Size && u.Host < base+size {
				return u, false
			}
		}
		return machine.IDRange{}, true
	}
	if wanted > 0 {
		if wanted < whole.Host || wanted+size > whole.Host+whole.Size {
			return 0, errs.Newf(errs.Invalid, "security.idmap.base: the ids %d to %d are not among those that this host has for containers, %d to %d",
				wanted, wanted+size-1, whole.Host, whole.Host+whole.Size-1)
		}
		if other, ok := free(wanted); !ok {
			return 0, errs.Newf(errs.Invalid, "security.idmap.base: the ids from %d on are another instance's: choose others, or leave the key out", other.Host)
		}
		return wanted, nil
	}
	for base := whole.Host + isolatedSize; base+size <= whole.Host+whole.Size; {
		other, ok := free(base)
		if ok {
			return base, nil
		}
		base = other.Host + other.Size
	}
	return 0, errs.Newf(errs.Invalid, "this host has no %d ids left for an instance that shares none: lower security.idmap.size, or give root more in /etc/subuid and /etc/subgid", size)
}
