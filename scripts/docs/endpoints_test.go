package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	document "lxd/doc/reference/api"
	"lxd/internal/rest/openapi"
	"lxd/scripts/internal/table"
)

// described is the part of the document that the table also tells of.
type described struct {
	Paths map[string]map[string]struct {
		Parameters  []struct{ Ref, Name, In string }
		RequestBody struct {
			Content map[string]struct{ Schema shape }
		}
		Responses map[string]answer
	}
	Components struct{ Responses map[string]answer }
}

type answer struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema shape }
}

// shape is as much of a shape as names need.
type shape struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Items                *shape
	AnyOf, AllOf         []shape
	Properties           map[string]shape
	AdditionalProperties json.RawMessage
	MaxProperties        *int
}

// name writes a shape as the table does: "[]Instance".
func (s shape) name() string {
	switch kind := fmt.Sprint(s.Type); {
	case s.Ref != "":
		return strings.TrimSuffix(s.Ref[strings.LastIndex(s.Ref, "/")+1:], "Input")
	case s.MaxProperties != nil:
		return ""
	case s.Items != nil:
		return "[]" + s.Items.name()
	case len(s.AdditionalProperties) > 0:
		var of shape
		if json.Unmarshal(s.AdditionalProperties, &of) == nil {
			return "map[]" + of.name()
		}
		return "map"
	case kind == "null" || kind == "<nil>" && len(s.AnyOf) == 0:
		return ""
	case len(s.AnyOf) > 0:
		var all []string
		for _, o := range s.AnyOf {
			if n := o.name(); n != "" {
				all = append(all, n)
			}
		}
		return strings.Join(all, " | ")
	default:
		return kind
	}
}

// metadata names what the answers hold.
func (a answer) metadata() string {
	var all []string
	for _, media := range slices.Sorted(maps.Keys(a.Content)) {
		if media != "application/json" {
			all = append(all, "raw")
			continue
		}
		s := a.Content[media].Schema
		if len(s.AnyOf) > 0 {
			s = s.AnyOf[0]
		}
		if len(s.AllOf) > 1 {
			all = append(all, s.AllOf[1].Properties["metadata"].name())
		}
	}
	return strings.Join(slices.Compact(slices.DeleteFunc(all, func(s string) bool { return s == "" })), " | ")
}

// facts are what is compared of one endpoint.
type facts struct{ params, request, status, metadata string }

// ours reads the document.
func ours(t *testing.T) map[string]facts {
	t.Helper()
	var d described
	if err := json.Unmarshal([]byte(strings.ReplaceAll(document.OpenAPI, `"$ref"`, `"Ref"`)), &d); err != nil {
		t.Fatal(err)
	}
	var refs described
	if err := json.Unmarshal([]byte(document.OpenAPI), &refs); err != nil {
		t.Fatal(err)
	}
	all := map[string]facts{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			var f facts
			var params, statuses, metadata, bodies []string
			for _, p := range o.Parameters {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok && name != "If-Match" {
					params = append(params, name)
				}
			}
			op := refs.Paths[path][method]
			for _, media := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
				name := op.RequestBody.Content[media].Schema.name()
				switch {
				case strings.HasPrefix(media, "multipart/"):
					name = "multipart"
				case media != "application/json":
					name = "raw"
				}
				bodies = append(bodies, name)
			}
			for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
				a := op.Responses[status]
				if status == "default" {
					continue
				}
				statuses = append(statuses, status)
				if a.Ref == "#/components/responses/Operation" {
					metadata = append(metadata, "Operation")
				} else if m := a.metadata(); m != "" {
					metadata = append(metadata, m)
				}
			}
			slices.Sort(params)
			f = facts{strings.Join(params, ","), strings.Join(bodies, " | "), strings.Join(statuses, "|"), strings.Join(metadata, " | ")}
			all[openapi.Canonical(strings.ToUpper(method)+" "+path)] = f
		}
	}
	return all
}

var (
	aside = regexp.MustCompile(`\s*\([^)]*\)`)
	depth = regexp.MustCompile(`(^|; )(r\d|public): `)
)

// theirs reads the table.
func theirs(t *testing.T) map[string]facts {
	t.Helper()
	rows, err := table.Read("../..", "endpoints")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]facts{}
	for _, r := range rows {
		var params []string
		for p := range strings.SplitSeq(r["query_params"], ",") {
			if name, _, _ := strings.Cut(p, ":"); name != "" {
				params = append(params, name)
			}
		}
		slices.Sort(params)
		status := strings.Split(r["http_status"], "|")
		slices.Sort(status)
		all[openapi.Canonical(r["method"]+" "+r["path"])] = facts{strings.Join(params, ","), words(r["request_body"], ""), strings.Join(status, "|"),
			words(r["response_metadata"], r["response_kind"])}
	}
	return all
}

// words writes the table's words for types as names of shapes are written.
func words(cell, kind string) string {
	if cell == "" && kind == "raw" {
		return "raw"
	}
	cell = strings.NewReplacer("multipart/form-data", "multipart", "map[status]", "map[]", "Operation class token", "Operation").Replace(aside.ReplaceAllString(cell, ""))
	var all []string
	for name := range strings.SplitSeq(strings.TrimPrefix(depth.ReplaceAllString(cell, " | "), " | "), " | ") {
		switch name {
		case "file", "file bytes", "console log bytes", "openmetrics text":
			name = "raw"
		case "multipart":
			if kind != "" {
				name = "raw"
			}
		case "null", "empty", "Event stream", "SFTP stream", "operation specific":
			name = ""
		}
		if name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(all) > 1 && slices.Contains(all, "raw") { // the document orders them by type of content
		slices.SortStableFunc(all, func(a, b string) int { return rank(a) - rank(b) })
	}
	return strings.Join(all, " | ")
}

func rank(name string) int { return slices.Index([]string{"raw", "multipart"}, name) }

// known are differences that are meant, by endpoint and what differs.
var known = map[string]string{
	"GET /1.0/metadata/openapi":                      "shows the document itself, which is this server's own",
	"HEAD /1.0/images/{}/export":                     "clients ask for the size of an image before they fetch it",
	"HEAD /1.0/instances/{}/files metadata":          "a HEAD is answered with the headers of GET",
	"POST /1.0/instances/{}/backups status":          "with Accept: application/octet-stream the backup itself is the answer",
	"POST /1.0/instances/{}/backups metadata":        "with Accept: application/octet-stream the backup itself is the answer",
	"GET /1.0/storage-volumes/{} recursion":          "the table has a type for recursion 1, and lacks the word",
	"GET /1.0/storage-pools/{}/volumes/{} recursion": "the table has a type for recursion 1, and lacks the word",
}

// everywhere are words of the query that all endpoints have more, or fewer, than the table.
var everywhere = map[string]string{
	"filter": "one piece of code filters all lists",
	"target": "a server without a cluster has everything at one place",
}

// difference is what one list of words has that the other lacks.
func difference(a, b string) (more []string) {
	for word := range strings.SplitSeq(a, ",") {
		if word != "" && !slices.Contains(strings.Split(b, ","), word) {
			more = append(more, word)
		}
	}
	return more
}

// The document says of each endpoint what the published table says, but for what is explained above.
func TestEndpoints(t *testing.T) {
	have, want, used := ours(t), theirs(t), map[string]bool{}
	report := func(id, format string, args ...any) {
		if used[id] = true; known[id] == "" {
			t.Errorf("%s: %s", id, fmt.Sprintf(format, args...))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		h, w := have[id], want[id]
		if w.status == "" {
			report(id, "it is not in the table")
			continue
		}
		for _, word := range append(difference(h.params, w.params), difference(w.params, h.params)...) {
			if everywhere[word] == "" {
				report(id+" "+word, "the query has %s, the table has %s", h.params, w.params)
			}
		}
		for _, c := range [][3]string{{"request", h.request, w.request}, {"status", h.status, w.status}, {"metadata", h.metadata, w.metadata}} {
			if c[1] != c[2] {
				report(id+" "+c[0], "%q, the table has %q", c[1], c[2])
			}
		}
	}
	for id := range known {
		if !used[id] {
			t.Errorf("%s is as in the table, and explained as something else", id)
		}
	}
}
