// Package property reads and writes the plain fields of wire types by their JSON names.
package property

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field finds the field of the struct behind ptr whose JSON name is key, if it is one that a text can be turned into.
func field(ptr any, key string) (reflect.Value, error) {
	v := reflect.ValueOf(ptr).Elem()
	var known []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		_, isTime := f.Interface().(time.Time)
		if name == "" || !isTime && !slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Int64}, f.Kind()) {
			continue
		}
		if name == key {
			return f, nil
		}
		known = append(known, name)
	}
	return reflect.Value{}, fmt.Errorf("The property %q does not exist; there are: %s", key, strings.Join(known, ", "))
}

// Read returns the text of a property of the struct behind ptr.
func Read(ptr any, key string) (string, error) {
	f, err := field(ptr, key)
	if err != nil {
		return "", err
	}
	if t, ok := f.Interface().(time.Time); ok {
		return t.Format(time.RFC3339Nano), nil
	}
	return fmt.Sprint(f.Interface()), nil
}

// Write sets properties of the struct behind ptr; an empty text is the zero value.
func Write(ptr any, changes map[string]string) error {
	for key, text := range changes {
		f, err := field(ptr, key)
		if err != nil {
			return err
		}
		if err := assign(f, text); err != nil {
			return fmt.Errorf("Property %q: %w", key, err)
		}
	}
	return nil
}

func assign(f reflect.Value, text string) error {
	if text == "" {
		f.SetZero()
		return nil
	}
	if _, ok := f.Interface().(time.Time); ok {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err == nil {
			f.Set(reflect.ValueOf(t))
		}
		return err
	}
	switch f.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		f.SetBool(b)
		return err
	case reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		f.SetInt(n)
		return err
	}
	f.SetString(text)
	return nil
}
