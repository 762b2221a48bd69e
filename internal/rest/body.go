package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"lxd/internal/errs"
)

// bodyMax is the most that a JSON body may hold.
const bodyMax = 4 << 20

// decode reads the body as an In; None leaves it unread.
func decode[In any](w http.ResponseWriter, c *Call) (in In, err error) {
	if reflect.TypeFor[In]() == reflect.TypeFor[None]() {
		return in, nil
	}
	body, err := readBody(w, c)
	if err != nil {
		return in, err
	}
	return in, unmarshal(body, &in)
}

func readBody(w http.ResponseWriter, c *Call) ([]byte, error) {
	hurry(c.Body)
	body, err := io.ReadAll(http.MaxBytesReader(w, c.Body, bodyMax))
	if _, tooBig := errors.AsType[*http.MaxBytesError](err); tooBig {
		return nil, errs.Newf(errs.Invalid, "request body is larger than %d MiB", bodyMax>>20)
	}
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "request body: %w", err)
	}
	return body, nil
}

// unmarshal parses exactly one JSON value in which no object names a key twice; errors say where.
func unmarshal(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return errs.Newf(errs.Invalid, "request body is empty: send a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errs.Newf(errs.Invalid, "request body%s: %w", where(body, err), err)
	}
	if key, at := repeated(body); key != "" {
		return errs.Newf(errs.Invalid, "request body%s: key %q appears twice", position(body, at), key)
	}
	return nil
}

func where(body []byte, err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return position(body, e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return position(body, e.Offset)
	}
	return ""
}

// position names the line and column of an offset.
func position(body []byte, offset int64) string {
	before := string(body[:min(max(int(offset)-1, 0), len(body))])
	line := strings.Count(before, "\n") + 1
	column := len(before) - strings.LastIndex(before, "\n")
	return " at line " + itoa(line) + ", column " + itoa(column)
}

// repeated finds a key that an object holds twice, in JSON that is known to be well-formed. Such bodies mean different things
// to different readers.
func repeated(body []byte) (key string, at int64) {
	type frame struct {
		seen map[string]bool // nil in a list
		key  bool            // the next token is a key
	}
	var stack []frame
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		t, err := dec.Token()
		if err != nil {
			return "", 0
		}
		if n := len(stack); n > 0 && stack[n-1].seen != nil && t != json.Delim('}') {
			top := &stack[n-1]
			if top.key {
				name, _ := t.(string)
				if top.seen[name] {
					return name, dec.InputOffset()
				}
				top.seen[name], top.key = true, false
				continue
			}
			top.key = true
		}
		switch t {
		case json.Delim('{'):
			stack = append(stack, frame{map[string]bool{}, true})
		case json.Delim('['):
			stack = append(stack, frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

// jsonName is the name under which a field travels.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		return f.Name
	}
	return name
}
