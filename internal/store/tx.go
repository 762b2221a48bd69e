package store

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// largeRange is how many entries a scan may yield before they are no longer compared one by one at the commit.
const largeRange = 128

// tx is a transaction over a snapshot. It notes what it reads, and keeps its writes to itself.
type tx struct {
	snap   *snapshot
	seen   map[string]uint64
	ranges map[string]Range // by From and To
	writes map[string][]byte
	order  []string // paths written, in order of the first write
	events []any
}

func newTx(s *snapshot) *tx {
	return &tx{snap: s, seen: map[string]uint64{}, ranges: map[string]Range{}, writes: map[string][]byte{}}
}

func (t *tx) Rev() uint64 { return t.snap.rev }

func (t *tx) Announce(ev any) { t.events = append(t.events, ev) }

func (t *tx) Read(collection, key string) (Entry, bool) {
	path := join(collection, key)
	if v, ok := t.writes[path]; ok {
		return Entry{Key: key, Value: v, Rev: t.snap.rev}, v != nil
	}
	e, ok := t.snap.get(path)
	if !ok {
		t.seen[path] = 0
		return Entry{}, false
	}
	t.seen[path] = e.Rev
	return *e, true
}

func (t *tx) Write(collection, key string, val []byte) {
	path := join(collection, key)
	if _, ok := t.writes[path]; !ok {
		t.order = append(t.order, path)
	}
	t.writes[path] = val
}

// Scan merges the snapshot with the writes made before it began.
func (t *tx) Scan(collection, prefix string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		from := join(collection, prefix)
		own := t.ownUnder(from)
		n := note{tx: t, to: prefixEnd(from)}
		more := true
		t.snap.walk(from, func(path string, e *Entry) bool {
			for more && len(own) > 0 && own[0] < path {
				more = t.yieldOwn(own[0], yield)
				own = own[1:]
			}
			if more {
				n.add(path, e)
				more = t.yieldMerged(path, e, yield)
			}
			if len(own) > 0 && own[0] == path {
				own = own[1:]
			}
			if !more {
				n.to = path + "\x00"
			}
			return more
		})
		t.noteRange(Range{Collection: collection, From: from, To: n.to, Count: n.count, Large: n.count > largeRange}, n.keys)
		for more && len(own) > 0 {
			more = t.yieldOwn(own[0], yield)
			own = own[1:]
		}
	}
}

// note gathers what a scan saw of the snapshot.
type note struct {
	tx    *tx
	to    string
	count int
	keys  map[string]uint64
}

func (n *note) add(path string, e *Entry) {
	n.count++
	if n.keys == nil {
		n.keys = map[string]uint64{}
	}
	if n.count <= largeRange {
		n.keys[path] = e.Rev
	}
}

func (t *tx) noteRange(r Range, keys map[string]uint64) {
	t.ranges[r.From+"\xff"+r.To] = r
	if r.Large {
		return
	}
	for path, rev := range keys {
		t.seen[path] = rev
	}
}

// ownUnder lists the paths under a prefix that this transaction wrote, in order.
func (t *tx) ownUnder(prefix string) (own []string) {
	for path := range t.writes {
		if strings.HasPrefix(path, prefix) {
			own = append(own, path)
		}
	}
	slices.Sort(own)
	return own
}

// yieldOwn yields a written entry, unless it was deleted.
func (t *tx) yieldOwn(path string, yield func(Entry) bool) bool {
	v := t.writes[path]
	if v == nil {
		return true
	}
	_, key := split(path)
	return yield(Entry{Key: key, Value: v, Rev: t.snap.rev})
}

// yieldMerged yields an entry of the snapshot as this transaction left it.
func (t *tx) yieldMerged(path string, e *Entry, yield func(Entry) bool) bool {
	if _, ok := t.writes[path]; ok {
		return t.yieldOwn(path, yield)
	}
	return yield(*e)
}

// touched are the records written, in order of the first write; references are not records.
func (t *tx) touched() (all []Ref) {
	for _, path := range t.order {
		if collection, key := split(path); collection != refs {
			all = append(all, Ref{collection, key})
		}
	}
	return all
}

// intent is what is to be committed. A write that changes nothing becomes a read: so a record that is written again with the same
// references does not collide with those who look at them.
func (t *tx) intent() Intent {
	in := Intent{Rev: t.snap.rev, Seen: t.seen}
	for _, path := range t.order {
		v, old, rev := t.writes[path], []byte(nil), uint64(0)
		if e, ok := t.snap.get(path); ok {
			old, rev = e.Value, e.Rev
		}
		if (v == nil) == (old == nil) && bytes.Equal(v, old) {
			t.seen[path] = rev
			continue
		}
		in.Writes = append(in.Writes, Write{Path: path, Value: v})
	}
	for _, r := range t.ranges {
		in.Ranges = append(in.Ranges, r)
	}
	return in
}

// viewTx is a transaction that only reads, and notes nothing.
type viewTx struct{ snap *snapshot }

func (v viewTx) Rev() uint64 { return v.snap.rev }

func (v viewTx) Read(collection, key string) (Entry, bool) {
	e, ok := v.snap.get(join(collection, key))
	if !ok {
		return Entry{}, false
	}
	return *e, true
}

func (v viewTx) Scan(collection, prefix string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		v.snap.walk(join(collection, prefix), func(_ string, e *Entry) bool { return yield(*e) })
	}
}

// Write panics: a View that writes is a mistake in the program, and dropping the write would hide it.
func (v viewTx) Write(collection, key string, _ []byte) {
	panic("store: write of " + join(collection, key) + " inside View")
}

// Announce panics, as Write does.
func (v viewTx) Announce(any) { panic("store: announcement inside View") }
