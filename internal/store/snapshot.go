package store

import (
	"cmp"
	"strings"

	"github.com/tidwall/btree"
)

// snapshot is the key space at one revision: path → entry, in path order. It never changes once published.
type snapshot struct {
	rev  uint64
	tree *btree.Map[string, *Entry]
}

func newSnapshot() *snapshot { return &snapshot{tree: new(btree.Map[string, *Entry])} }

// next returns a snapshot that may be changed without s changing.
func (s *snapshot) next(rev uint64) *snapshot { return &snapshot{rev: rev, tree: s.tree.Copy()} }

func (s *snapshot) get(path string) (*Entry, bool) { return s.tree.Get(path) }

// set makes a write and returns what was there.
func (s *snapshot) set(w Write) (old []byte) {
	var prev *Entry
	if w.Value == nil {
		prev, _ = s.tree.Delete(w.Path)
	} else {
		_, key := split(w.Path)
		prev, _ = s.tree.Set(w.Path, &Entry{Key: key, Value: w.Value, Rev: cmp.Or(w.Rev, s.rev), decoded: new(memo)})
	}
	if prev == nil {
		return nil
	}
	return prev.Value
}

// walk calls yield for the entries whose path starts with prefix, in order, until yield says no.
func (s *snapshot) walk(prefix string, yield func(path string, e *Entry) bool) {
	s.tree.Ascend(prefix, func(path string, e *Entry) bool {
		return strings.HasPrefix(path, prefix) && yield(path, e)
	})
}

// join makes the path of a key: "/COLLECTION/KEY".
func join(collection, key string) string { return "/" + collection + "/" + key }

// split is the reverse of join.
func split(path string) (collection, key string) {
	collection, key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return collection, key
}

// prefixEnd is the first path behind all those that start with prefix.
func prefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\xff"
}

// CollectionOf tells which collection a path is in.
func CollectionOf(path string) string {
	collection, _ := split(path)
	return collection
}
