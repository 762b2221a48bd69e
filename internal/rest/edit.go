package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
)

// Editor changes the writable part of one object.
type Editor[Put any] struct {
	// Load reads the object as it is, and what its ETag is made of (nil = no check). It may return shared values.
	Load func(ctx context.Context, c *Call) (cur Put, etag any, err error)
	// Save replaces the object at once.
	Save func(ctx context.Context, c *Call, next Put) error
	// SaveAsync returns the work that replaces the object; it goes before Save.
	SaveAsync func(ctx context.Context, c *Call, next Put) (op.Spec, error)
	// PatchSync makes PATCH use Save where PUT uses SaveAsync.
	PatchSync bool
}

// Edit makes the PUT and PATCH of an object. Both honour If-Match. PATCH is the body decoded over what Load returned: maps merge
// by key, a null removes the key, and so does an empty value in "config"; lists and texts are replaced if they are given.
func Edit[Put any](path string, a Access, e Editor[Put]) []Route {
	return []Route{e.route("PUT "+path, a, false), e.route("PATCH "+path, a, true)}
}

func (e Editor[Put]) route(pattern string, a Access, patch bool) Route {
	async := e.SaveAsync != nil && (!patch || !e.PatchSync)
	r := Route{Pattern: pattern, Access: a, Kind: SyncKind, In: reflect.TypeFor[Put](), Out: reflect.TypeFor[None](), Doc: Doc{Matches: true}}
	if async {
		r.Kind, r.Out = AsyncKind, reflect.TypeFor[api.Operation]()
	}
	r.serve = func(s *Server, w http.ResponseWriter, c *Call) error {
		body, err := readBody(w, c)
		if err != nil {
			return err
		}
		// Without this two edits could both pass If-Match, or undo each other's merge.
		unlock := s.edits.lock(c.Project + c.URL.Path)
		defer unlock()
		next, err := e.next(c, body, patch)
		if err != nil {
			return err
		}
		if !async {
			if err := e.Save(c.Context(), c, next); err != nil {
				return err
			}
			return s.sync(w, c, None{})
		}
		spec, err := e.SaveAsync(c.Context(), c, next)
		if err != nil {
			return err
		}
		return s.Start(w, c, spec)
	}
	return r
}

// next is the object as the request wants it.
func (e Editor[Put]) next(c *Call, body []byte, patch bool) (next Put, err error) {
	cur, etag, err := e.Load(c.Context(), c)
	if err != nil {
		return next, err
	}
	if err := ifMatch(c.Request, etag); err != nil {
		return next, err
	}
	if !patch {
		return next, unmarshal(body, &next)
	}
	return merge(cur, body)
}

// merge decodes the body of a PATCH over a copy of cur.
func merge[Put any](cur Put, body []byte) (next Put, err error) {
	b, err := json.Marshal(cur) // values that Load returns are shared: only a copy may be changed
	if err != nil {
		return next, fmt.Errorf("copy the object: %w", err)
	}
	if err := json.Unmarshal(b, &next); err != nil {
		return next, fmt.Errorf("copy the object: %w", err)
	}
	fields := map[string]json.RawMessage{}
	if err := unmarshal(body, &fields); err != nil {
		return next, err
	}
	for name, raw := range fields {
		if string(raw) == "null" {
			delete(fields, name) // clients send null for what they do not mean to change
		}
	}
	given, err := json.Marshal(fields)
	if err != nil {
		return next, errs.Newf(errs.Invalid, "request body: %w", err)
	}
	if err := unmarshal(given, &next); err != nil {
		return next, err
	}
	v := reflect.ValueOf(&next).Elem()
	if v.Kind() != reflect.Struct {
		return next, nil
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Type.Kind() == reflect.Map && f.Type.Key().Kind() == reflect.String {
			removeKeys(v.FieldByIndex(f.Index), jsonName(f), fields[jsonName(f)])
		}
	}
	return next, nil
}

// removeKeys removes from m what the request gave as null, and in a config also what it gave as empty.
func removeKeys(m reflect.Value, name string, raw json.RawMessage) {
	var given map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &given) != nil {
		return
	}
	for k, v := range given {
		if string(v) == "null" || name == "config" && string(v) == `""` {
			m.SetMapIndex(reflect.ValueOf(k).Convert(m.Type().Key()), reflect.Value{})
		}
	}
}
