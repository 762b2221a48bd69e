// Package idmap deals with the shift between the user and group ids inside a container and those on the host.
package idmap

import (
	"fmt"
	"math"
	"slices"

	"lxd/internal/errs"
)

// Range maps Size ids from Inside to Host.
type Range struct{ Host, Inside, Size int64 }

// Map is a set of ranges for both users and groups; empty maps every id to itself.
type Map []Range

// Default is the map of a container when the host reserves nothing else for root.
func Default() Map { return Map{{Host: 1000000, Size: 1000000000}} }

// identity is what an empty map stands for: all ids but the last, which means "none".
func (m Map) ranges() []Range {
	if len(m) == 0 {
		return []Range{{Size: math.MaxUint32}}
	}
	return m
}

// Host is the id on the host of an id inside.
func (m Map) Host(inside int64) (int64, bool) {
	for _, r := range m.ranges() {
		if inside >= r.Inside && inside-r.Inside < r.Size {
			return r.Host + inside - r.Inside, true
		}
	}
	return 0, false
}

// Inside is the id inside of an id on the host.
func (m Map) Inside(host int64) (int64, bool) {
	for _, r := range m.ranges() {
		if host >= r.Host && host-r.Host < r.Size {
			return r.Inside + host - r.Host, true
		}
	}
	return 0, false
}

// ToHost and ToInside are Host and Inside for whole trees; they fail with Invalid on an id that the map does not know.
func (m Map) ToHost(inside uint32) (uint32, error) {
	host, ok := m.Host(int64(inside))
	if !ok {
		return 0, errs.Newf(errs.Invalid, "id %d has no place in the map %v", inside, m)
	}
	return uint32(host), nil
}

// ToInside is the other way round.
func (m Map) ToInside(host uint32) (uint32, error) {
	inside, ok := m.Inside(int64(host))
	if !ok {
		return 0, errs.Newf(errs.Invalid, "id %d of the host is not in the map %v", host, m)
	}
	return uint32(inside), nil
}

// Equal tells whether both are the same list of ranges.
func (m Map) Equal(o Map) bool { return slices.Equal(m, o) }

// Validate fails with Invalid on ranges that are empty, too large or overlap.
func (m Map) Validate() error {
	for i, r := range m {
		if r.Size <= 0 || r.Host < 0 || r.Inside < 0 || r.Host+r.Size > math.MaxUint32 || r.Inside+r.Size > math.MaxUint32 {
			return errs.Newf(errs.Invalid, "id range %d→%d of %d ids does not fit into 0–%d", r.Inside, r.Host, r.Size, int64(math.MaxUint32)-1)
		}
		for _, o := range m[:i] {
			if overlap(r.Host, o.Host, r.Size, o.Size) || overlap(r.Inside, o.Inside, r.Size, o.Size) {
				return errs.Newf(errs.Invalid, "id ranges %d→%d and %d→%d overlap", o.Inside, o.Host, r.Inside, r.Host)
			}
		}
	}
	return nil
}

func overlap(a, b, sizeA, sizeB int64) bool { return a < b+sizeB && b < a+sizeA }

// Steps are maps that lead from one owner scheme to another, to itself last: files that m owns are given to each in turn. Between
// neighbours no new id is also an old one, so that a step that was interrupted can be run again.
func (m Map) Steps(to Map) ([]Map, error) {
	if m.Equal(to) {
		return nil, nil
	}
	from := m.common(to)
	if !collide(from, to.common(m)) {
		return []Map{to}, nil
	}
	// Both are moved out of each other's way first, to a place that neither uses.
	size := int64(0)
	for _, r := range from {
		size = max(size, r.Inside+r.Size)
	}
	for base := int64(1 << 31); base+size <= math.MaxUint32; base += 1 << 28 {
		via := Map{{Host: base, Size: size}}
		if !collide(from, via) && !collide(via, to.common(m)) {
			return []Map{via, to}, nil
		}
	}
	return nil, errs.Newf(errs.Invalid, "the ids cannot be moved from %v to %v: no free range of %d ids is left in between", m, to, size)
}

// common are m's ranges, cut to the inside ids that o knows as well.
func (m Map) common(o Map) (out Map) {
	for _, a := range m.ranges() {
		for _, b := range o.ranges() {
			from, end := max(a.Inside, b.Inside), min(a.Inside+a.Size, b.Inside+b.Size)
			if from < end {
				out = append(out, Range{Host: a.Host + from - a.Inside, Inside: from, Size: end - from})
			}
		}
	}
	return out
}

func collide(a, b Map) bool {
	for _, x := range a {
		for _, y := range b {
			if overlap(x.Host, y.Host, x.Size, y.Size) {
				return true
			}
		}
	}
	return false
}

// Shift says where an id on the host moves when its owner goes from m to to. An id that to owns already stays, so that an
// interrupted change can be run again; one that neither knows is Invalid.
func (m Map) Shift(to Map) func(uint32) (uint32, error) {
	from, into := m.common(to), to.common(m)
	return func(id uint32) (uint32, error) {
		if inside, ok := from.insideOf(int64(id)); ok {
			host, _ := to.Host(inside)
			return uint32(host), nil
		}
		if _, ok := into.insideOf(int64(id)); ok {
			return id, nil
		}
		return 0, errs.Newf(errs.Invalid, "a file belongs to id %d, which has no place in the new map %v: change its owner first", id, to)
	}
}

func (m Map) insideOf(host int64) (int64, bool) {
	if len(m) == 0 {
		return 0, false
	}
	return m.Inside(host)
}

// String lists the ranges as inside→host+size.
func (r Range) String() string { return fmt.Sprintf("%d→%d+%d", r.Inside, r.Host, r.Size) }
