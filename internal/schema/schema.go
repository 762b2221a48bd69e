// Package schema declares configuration keys once; validation, docs, completion and redaction read the same table.
package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lxd/internal/errs"
)

// Live says which running instances take a change without a restart.
type Live uint8

// Live values.
const (
	LiveNo Live = iota
	LiveYes
	LiveContainer
)

// Key is one configuration key. A Name ending in ".*" matches a whole family; "<name>" inside matches one dotted part.
type Key struct {
	Name    string
	Type    Type
	Default string
	// Check refines Type; it sees non-empty values only.
	Check func(string) error
	Live  Live
	// Local keys differ per cluster member.
	Local bool
	// Secret values are left out of logs and of answers to callers that may not edit.
	Secret bool
	// Volatile keys are kept by the server; clients only send them back.
	Volatile bool
	// Later keys belong to a feature that does not exist yet. They are known, so that using one says so: taking a value and
	// not acting on it would be worse. Only their default is accepted.
	Later bool
	// Condition says when the key applies, for the docs ("virtual machine").
	Condition string
	Short     string
	Long      string
}

// Type parses and names a value's form.
type Type struct {
	Name string
	OK   func(string) error
	// Enum offers the values to completion.
	Enum []string
}

// Schema is the keys of one kind of entity.
type Schema struct {
	entity string
	keys   []Key
	exact  map[string]int
	family []int
}

// New builds a schema. It panics on a malformed table, so that the package's own test catches it.
func New(entity string, keys ...Key) *Schema {
	s := &Schema{entity: entity, keys: keys, exact: map[string]int{}}
	for i, k := range keys {
		if k.Short == "" || k.Type.Name == "" {
			panic(entity + ": key " + k.Name + " has no Short or Type")
		}
		if _, dup := s.exact[k.Name]; dup {
			panic(entity + ": key " + k.Name + " declared twice")
		}
		s.exact[k.Name] = i
		if strings.ContainsAny(k.Name, "*<") {
			s.family = append(s.family, i)
		}
	}
	return s
}

// Entity is the noun that the keys belong to.
func (s *Schema) Entity() string { return s.entity }

// Keys lists the table in declaration order; treat it as read only.
func (s *Schema) Keys() []Key { return s.keys }

// Lookup finds the key that governs name.
func (s *Schema) Lookup(name string) (Key, bool) {
	if i, ok := s.exact[name]; ok && !strings.ContainsAny(name, "*<") {
		return s.keys[i], true
	}
	for _, i := range s.family {
		if matches(s.keys[i].Name, name) {
			return s.keys[i], true
		}
	}
	return Key{}, false
}

// Validate reports every bad key at once, in key order. An empty value is the absence of the key.
func (s *Schema) Validate(cfg map[string]string) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		k, ok := s.Lookup(name)
		switch {
		case !ok:
			all = append(all, fmt.Errorf("unknown %s configuration key %q", s.entity, name))
		case cfg[name] != "":
			all = append(all, check(k, name, cfg[name]))
		}
	}
	if err := errors.Join(all...); err != nil {
		return errs.As(errs.Invalid, oneLine{err})
	}
	return nil
}

// Get reads name from cfg, or its default.
func (s *Schema) Get(cfg map[string]string, name string) string {
	if v := cfg[name]; v != "" {
		return v
	}
	k, _ := s.Lookup(name)
	return k.Default
}

// Bool reads a boolean key, or its default.
func (s *Schema) Bool(cfg map[string]string, name string) bool { return IsTrue(s.Get(cfg, name)) }

func check(k Key, name, v string) error {
	if err := k.Accepts(v); err != nil {
		return fmt.Errorf("invalid value %q for key %q: %w", v, name, err)
	}
	return nil
}

// ErrLater is why a Later key is refused.
var ErrLater = errors.New("not supported yet by this server: leave it unset")

// Accepts fails with the reason why v, which is not empty, cannot be a value of the key.
func (k Key) Accepts(v string) error {
	for _, f := range []func(string) error{k.Type.OK, k.Check} {
		if f == nil {
			continue
		}
		if err := f(v); err != nil {
			return err
		}
	}
	if k.Later && !k.isDefault(v) {
		return ErrLater
	}
	return nil
}

// isDefault also knows the default in its other spellings, and when the docs add a word: "10 (maximum)".
func (k Key) isDefault(v string) bool {
	word, _, _ := strings.Cut(k.Default, " ")
	return v == k.Default || v == word || k.Type.Name == Bool.Name && (IsTrue(v) && IsTrue(word) || IsFalse(v) && IsFalse(word))
}

// matches reports whether name belongs to the family pattern: "user.*" or "volatile.<name>.hwaddr".
func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix) && len(name) > len(prefix)
	}
	i, j := strings.IndexByte(pattern, '<'), strings.IndexByte(pattern, '>')
	if i < 0 || j < i {
		return false
	}
	head, tail := pattern[:i], pattern[j+1:]
	return len(name) > len(head)+len(tail) && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail)
}

// oneLine shows joined errors on one line, as they travel in a JSON answer.
type oneLine struct{ err error }

func (o oneLine) Error() string { return strings.ReplaceAll(o.err.Error(), "\n", "; ") }
func (o oneLine) Unwrap() error { return o.err }
