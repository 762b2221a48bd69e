package store

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"sync"

	"lxd/internal/errs"
)

// refs is the collection that keeps who refers to whom: target collection / target key / source collection / source key.
const refs = "ref"

// Ref names a record of another collection that a record needs to exist.
type Ref struct{ Collection, Key string }

// Collection is a typed view of one part of the store. Its values are shared between readers: treat what Get and All return as
// read only; Modify works on a copy of its own.
type Collection[T any] struct {
	// Name is the collection, and the noun in its errors.
	Name string
	// Key is the record's key, such as "project/name".
	Key func(T) string
	// Refs, if set, names the records that this one needs: they must exist when it is written, and cannot be deleted
	// while it exists.
	Refs func(T) []Ref
}

// memo parses an entry's value once for all readers of its revision.
type memo struct {
	once sync.Once
	val  any
	err  error
}

// Get loads one record or fails with NotFound.
func (c Collection[T]) Get(tx Tx, key string) (T, error) {
	v, _, err := c.GetRev(tx, key)
	return v, err
}

// GetRev loads one record and the revision of its last write, or fails with NotFound.
func (c Collection[T]) GetRev(tx Tx, key string) (v T, rev uint64, err error) {
	e, ok := tx.Read(c.Name, key)
	if !ok {
		return v, 0, errs.Newf(errs.NotFound, "%s %q not found", c.noun(), lastPart(key))
	}
	v, err = c.decode(e)
	return v, e.Rev, err
}

// Has reports whether a record exists.
func (c Collection[T]) Has(tx Tx, key string) bool {
	_, ok := tx.Read(c.Name, key)
	return ok
}

// Insert adds a record or fails with Conflict; a missing reference fails with NotFound.
func (c Collection[T]) Insert(tx Tx, v T) error {
	if c.Has(tx, c.Key(v)) {
		return errs.Newf(errs.Conflict, "%s %q already exists", c.noun(), lastPart(c.Key(v)))
	}
	return c.put(tx, nil, v)
}

// Modify changes one record in place, on a copy of its own; the key may not change.
func (c Collection[T]) Modify(tx Tx, key string, change func(*T) error) error {
	e, ok := tx.Read(c.Name, key)
	if !ok {
		return errs.Newf(errs.NotFound, "%s %q not found", c.noun(), lastPart(key))
	}
	var old, v T
	if err := json.Unmarshal(e.Value, &old); err != nil {
		return fmt.Errorf("record %s/%s: %w", c.Name, key, err)
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return fmt.Errorf("record %s/%s: %w", c.Name, key, err)
	}
	if err := change(&v); err != nil {
		return err
	}
	if c.Key(v) != key {
		return errs.Newf(errs.Internal, "record %s/%s: a modification changed the key to %q", c.Name, key, c.Key(v))
	}
	return c.put(tx, &old, v)
}

// Put inserts a record or replaces the one of the same key.
func (c Collection[T]) Put(tx Tx, v T) error {
	if c.Has(tx, c.Key(v)) {
		return c.Modify(tx, c.Key(v), func(p *T) error { *p = v; return nil })
	}
	return c.put(tx, nil, v)
}

// Delete removes a record; a missing one is no error, one that others refer to fails with Invalid.
func (c Collection[T]) Delete(tx Tx, key string) error {
	e, ok := tx.Read(c.Name, key)
	if !ok {
		return nil
	}
	if users := c.UsedBy(tx, key); len(users) > 0 {
		return errs.Newf(errs.Invalid, "%s %q is in use, %d times, first by %s %q: remove those first",
			c.noun(), lastPart(key), len(users), users[0].Collection, lastPart(users[0].Key))
	}
	v, err := c.decode(e)
	if err != nil {
		return err
	}
	for _, r := range c.refsOf(&v) {
		tx.Write(refs, refKey(r, Ref{c.Name, key}), nil)
	}
	tx.Write(c.Name, key, nil)
	return nil
}

// All yields the records whose key starts with prefix, in key order.
func (c Collection[T]) All(tx Tx, prefix string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for e := range tx.Scan(c.Name, prefix) {
			if !yield(c.decode(e)) {
				return
			}
		}
	}
}

// AllRev yields the entries themselves with the decoded record, for callers that cache by revision.
func (c Collection[T]) AllRev(tx Tx, prefix string) iter.Seq2[Entry, T] {
	return func(yield func(Entry, T) bool) {
		for e := range tx.Scan(c.Name, prefix) {
			v, err := c.decode(e)
			if err != nil {
				continue // a record that this version cannot read is reported by Get, not by lists
			}
			if !yield(e, v) {
				return
			}
		}
	}
}

// UsedBy lists the records that refer to the record of that key.
func (c Collection[T]) UsedBy(tx Tx, key string) (users []Ref) {
	for e := range tx.Scan(refs, c.Name+"/"+url.PathEscape(key)+"/") {
		p := strings.SplitN(e.Key, "/", 4)
		user, err := url.PathUnescape(p[3])
		if err == nil {
			users = append(users, Ref{p[2], user})
		}
	}
	return users
}

func (c Collection[T]) noun() string { return strings.ReplaceAll(c.Name, "_", " ") }

func (c Collection[T]) decode(e Entry) (T, error) {
	if e.decoded == nil {
		var v T
		err := json.Unmarshal(e.Value, &v)
		return v, err
	}
	e.decoded.once.Do(func() {
		var v T
		e.decoded.err = json.Unmarshal(e.Value, &v)
		e.decoded.val = v
	})
	if e.decoded.err != nil {
		var zero T
		return zero, fmt.Errorf("record %s/%s: %w", c.Name, e.Key, e.decoded.err)
	}
	return e.decoded.val.(T), nil
}

func (c Collection[T]) put(tx Tx, old *T, v T) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	self := Ref{c.Name, c.Key(v)}
	for _, r := range c.refsOf(old) {
		tx.Write(refs, refKey(r, self), nil)
	}
	for _, r := range c.refsOf(&v) {
		if _, ok := tx.Read(r.Collection, r.Key); !ok {
			return errs.Newf(errs.NotFound, "%s %q not found", strings.ReplaceAll(r.Collection, "_", " "), lastPart(r.Key))
		}
		tx.Write(refs, refKey(r, self), []byte("{}"))
	}
	tx.Write(c.Name, self.Key, b)
	return nil
}

func (c Collection[T]) refsOf(v *T) []Ref {
	if v == nil || c.Refs == nil {
		return nil
	}
	return c.Refs(*v)
}

func refKey(target, source Ref) string {
	return target.Collection + "/" + url.PathEscape(target.Key) + "/" + source.Collection + "/" + url.PathEscape(source.Key)
}

func lastPart(key string) string {
	_, name, ok := strings.Cut(key, "/")
	if !ok {
		return key
	}
	return name
}

// Exists reports whether a record exists, for callers that know a collection by its name alone.
func Exists(tx Tx, r Ref) bool {
	_, ok := tx.Read(r.Collection, r.Key)
	return ok
}

// Keys yields the keys of a collection in order, without looking at the records.
func Keys(tx Tx, collection string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for e := range tx.Scan(collection, "") {
			if !yield(e.Key) {
				return
			}
		}
	}
}
