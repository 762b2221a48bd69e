package filter

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"lxd/internal/errs"
	"lxd/internal/schema"
)

// lookup finds the field that a dotted path of yaml names leads to. The key of a map may hold dots itself; a key that is not
// there has the empty text.
func lookup(v any, path string) (reflect.Value, error) {
	cur, left := reflect.ValueOf(v), path
	for {
		for cur.Kind() == reflect.Pointer || cur.Kind() == reflect.Interface {
			if cur.IsNil() {
				return reflect.ValueOf(""), nil
			}
			cur = cur.Elem()
		}
		if left == "" {
			return cur, nil
		}
		known := false
		switch cur.Kind() {
		case reflect.Struct:
			var name string
			name, left, _ = strings.Cut(left, ".")
			cur, known = member(cur, name)
		case reflect.Map:
			cur, left = entry(cur, left)
			known = true
		}
		if !known {
			return cur, errs.Newf(errs.Internal, "filter: there is no field %q", path)
		}
	}
}

// member finds a struct's field by its yaml name, in embedded structs too.
func member(v reflect.Value, name string) (reflect.Value, bool) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Anonymous || !f.IsExported() || yamlName(f) != name {
			continue
		}
		if got, err := v.FieldByIndexErr(f.Index); err == nil {
			return got, true
		}
		return reflect.ValueOf(""), true // inside an embedded pointer that is nil
	}
	return v, false
}

func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "" {
		return strings.ToLower(f.Name)
	}
	return name
}

// entry finds the longest key of m that path begins with, and what is left of path behind it.
func entry(m reflect.Value, path string) (reflect.Value, string) {
	if m.Type().Key().Kind() != reflect.String {
		return reflect.ValueOf(""), ""
	}
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		got := m.MapIndex(reflect.ValueOf(path[:end]).Convert(m.Type().Key()))
		if got.IsValid() {
			return got, strings.TrimPrefix(path[end:], ".")
		}
	}
	return reflect.ValueOf(""), ""
}

// equal compares a field with the clause's value, by the kind of the field.
func (c *clause) equal(v reflect.Value) (bool, error) {
	if t, ok := v.Interface().(time.Time); ok {
		return c.text(t.Format(time.RFC3339Nano))
	}
	switch {
	case v.Kind() == reflect.String:
		return c.text(v.String())
	case v.Kind() == reflect.Bool:
		if !schema.IsTrue(c.value) && !schema.IsFalse(c.value) {
			return false, c.mismatch("true or false")
		}
		return v.Bool() == schema.IsTrue(c.value), nil
	case v.CanInt():
		n, err := strconv.ParseInt(c.value, 10, 64)
		return c.number(v.Int() == n, err)
	case v.CanUint():
		n, err := strconv.ParseUint(c.value, 10, 64)
		return c.number(v.Uint() == n, err)
	case v.CanFloat():
		n, err := strconv.ParseFloat(c.value, 64)
		return c.number(v.Float() == n, err)
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Array:
		return c.list(v)
	}
	return false, errs.Newf(errs.Internal, "filter: %q is not a single value: name one inside it", c.field)
}

func (c *clause) number(same bool, err error) (bool, error) {
	if err != nil {
		return false, c.mismatch("a number")
	}
	return same, nil
}

func (c *clause) text(s string) (bool, error) {
	if c.reErr != nil {
		return false, errs.Newf(errs.Internal, "filter: value %q: %w", c.value, c.reErr)
	}
	return c.re.MatchString(s), nil
}

// list compares with a JSON array, item by item.
func (c *clause) list(v reflect.Value) (bool, error) {
	var want []any
	if json.Unmarshal([]byte(c.value), &want) != nil {
		return false, c.mismatch(`a JSON array such as ["default"]`)
	}
	if len(want) != v.Len() {
		return false, nil
	}
	for i, w := range want {
		if fmt.Sprint(w) != fmt.Sprint(v.Index(i).Interface()) {
			return false, nil
		}
	}
	return true, nil
}

func (c *clause) mismatch(want string) error {
	return errs.Newf(errs.Internal, "filter: the value %q for %s must be %s", c.value, c.field, want)
}
