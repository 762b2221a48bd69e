package api_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"lxd/api"
)

// field is what the table, and the Go type, say of one JSON field.
type field struct {
	goName, json, jsonType, yaml, via string
	omitempty, pointer                bool
}

// tableFields reads spec/types.tsv into the fields of each type.
func tableFields(t *testing.T) map[string][]field {
	t.Helper()
	data, err := os.ReadFile("../spec/types.tsv")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string][]field{}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		c := strings.Split(line, "\t")
		f := field{goName: c[1], json: c[2], jsonType: c[3], yaml: c[9], via: c[6], omitempty: c[4] == "y", pointer: c[5] == "y"}
		if f.yaml == "" {
			f.yaml = f.json
		}
		types[c[0]] = append(types[c[0]], f)
	}
	return types
}

// goFields reads the same out of a Go struct.
func goFields(typ reflect.Type) []field {
	var fields []field
	for _, sf := range reflect.VisibleFields(typ) {
		if sf.Anonymous {
			continue
		}
		var via []string
		for at, i := typ, 0; i < len(sf.Index)-1; i++ {
			embedded := at.Field(sf.Index[i])
			via, at = append(via, embedded.Name), embedded.Type
		}
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		yaml, _, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		f := field{goName: sf.Name, json: name, yaml: yaml, via: strings.Join(via, ">"), omitempty: opts == "omitempty"}
		at := sf.Type
		if at.Kind() == reflect.Pointer {
			f.pointer, at = true, at.Elem()
		}
		f.jsonType = jsonType(at)
		fields = append(fields, f)
	}
	return fields
}

// jsonType is the table's word for a Go type.
func jsonType(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Time]():
		return "timestamp"
	case reflect.TypeFor[json.RawMessage]():
		return "any"
	}
	named := ""
	if t.PkgPath() != "" {
		named = "(" + t.Name() + ")"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "object " + t.Name()
	case reflect.Map:
		return "map[string]" + jsonType(t.Elem())
	case reflect.Slice:
		return "array of " + jsonType(t.Elem())
	case reflect.Int, reflect.Int64:
		return "int" + named
	case reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any"
	}
	return t.Kind().String() + named
}

func TestTypesAreThoseOfTheTable(t *testing.T) {
	table := tableFields(t)
	if len(table) != len(wireTypes) {
		t.Errorf("%d types in Go, %d in the table", len(wireTypes), len(table))
	}
	for name, want := range table {
		value, ok := wireTypes[name]
		if !ok {
			t.Errorf("type %s is missing", name)
			continue
		}
		for _, problem := range differences(want, goFields(reflect.TypeOf(value))) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// differences compares fields by JSON name.
func differences(want, got []field) []string {
	var problems []string
	have := map[string]field{}
	for _, f := range got {
		have[f.json] = f
	}
	for _, w := range want {
		g, ok := have[w.json]
		if !ok {
			problems = append(problems, "no field "+w.json)
		} else if g != w {
			problems = append(problems, w.json+" differs from the table")
		}
		delete(have, w.json)
	}
	for name := range have {
		problems = append(problems, "field "+name+" is not in the table")
	}
	return problems
}

func TestDifferencesAreSeen(t *testing.T) {
	type sample struct {
		Name string `json:"name" yaml:"name"`
		Size int64  `json:"size,omitempty" yaml:"size"`
	}
	name := field{goName: "Name", json: "name", jsonType: "string", yaml: "name"}
	size := field{goName: "Size", json: "size", jsonType: "int", yaml: "size", omitempty: true}
	always := size
	always.omitempty = false
	for what, c := range map[string]struct {
		want []field
		n    int
	}{
		"equal":     {[]field{name, size}, 0},
		"too many":  {[]field{name}, 1},
		"missing":   {[]field{name, size, {json: "other"}}, 1},
		"different": {[]field{name, always}, 1},
	} {
		if got := differences(c.want, goFields(reflect.TypeFor[sample]())); len(got) != c.n {
			t.Errorf("%s: %v, want %d", what, got, c.n)
		}
	}
}

func TestWritableRoundTrip(t *testing.T) {
	inst := api.Instance{Name: "c1", Description: "old", Config: map[string]string{"limits.cpu": "2"}}
	put := inst.Writable()
	if put.Description != "old" || put.Config["limits.cpu"] != "2" {
		t.Errorf("Writable() = %+v", put)
	}
	put.Description = "new"
	inst.SetWritable(put)
	if inst.Description != "new" || inst.Name != "c1" {
		t.Errorf("after SetWritable: %+v", inst)
	}
}

func TestEmbeddedFieldsAreFlatInJSON(t *testing.T) {
	full := api.InstanceFull{Instance: api.Instance{Name: "c1"}}
	full.AccessEntitlements = []string{"can_edit"}
	data, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	if keys["name"] != "c1" || keys["access_entitlements"] == nil || keys["Instance"] != nil {
		t.Errorf("got %s", data)
	}
	if _, ok := keys["state"]; !ok {
		t.Errorf("an absent state must be null, got %s", data)
	}
}
