package main

import (
	"strings"
	"testing"

	"lxd/scripts/internal/table"
)

// rows is a small types table: an entity with an embedded type and a writable part.
func rows() []table.Row {
	return []table.Row{
		{"type": "Base", "go_field": "Rights", "json_name": "rights", "json_type": "array of string", "omitempty": "y", "area": "x"},
		{"type": "Thing", "go_field": "Rights", "json_name": "rights", "json_type": "array of string", "embedded_via": "Base", "area": "x"},
		{"type": "Thing", "go_field": "Name", "json_name": "name", "json_type": "string", "area": "x"},
		{"type": "Thing", "go_field": "Size", "json_name": "size", "json_type": "int", "area": "x", "yaml_name_if_different": "bytes"},
		{"type": "Thing", "go_field": "State", "json_name": "state", "json_type": "object ThingState", "pointer": "y", "area": "x"},
		{"type": "ThingPut", "go_field": "Size", "json_name": "size", "json_type": "int", "area": "x"},
		{"type": "ThingPut", "go_field": "Restore", "json_name": "restore", "json_type": "string", "area": "x"},
	}
}

func TestRender(t *testing.T) {
	types := groupTypes(rows())
	if len(types) != 3 {
		t.Fatalf("%d types", len(types))
	}
	text, err := types[1].render()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Base `yaml:\",inline\"`\n",
		"Name string `json:\"name\" yaml:\"name\"`",
		"Size int64 `json:\"size\" yaml:\"bytes\"`",
		"State *ThingState `",
		"func (o *Thing) Writable() ThingPut",
		"put.Size = o.Size\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	for _, wrong := range []string{"Rights", "Restore"} {
		if strings.Contains(text, wrong) {
			t.Errorf("%q is not a field of its own, or not one of both:\n%s", wrong, text)
		}
	}
}

func TestRenderNamesTheBadField(t *testing.T) {
	types := groupTypes([]table.Row{{"type": "T", "go_field": "F", "json_type": "blob"}})
	if _, err := types[0].render(); err == nil || !strings.Contains(err.Error(), "T.F") {
		t.Errorf("got %v", err)
	}
}

func TestAreasAreSplitBeforeTheyGrowTooLong(t *testing.T) {
	var many []table.Row
	for _, name := range []string{"A", "B", "C"} {
		for range 120 {
			many = append(many, table.Row{"type": name, "go_field": "F", "json_name": "f", "json_type": "string", "area": "x"})
		}
	}
	files, err := areaFiles("x", groupTypes(many))
	if err != nil || len(files) != 2 || files[0].path != "api/x_gen.go" || files[1].path != "api/x2_gen.go" {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if n := strings.Count(string(f.text), "\n"); n > maxLines+20 {
			t.Errorf("%s has %d lines", f.path, n)
		}
	}
}

func TestDocs(t *testing.T) {
	for name, want := range map[string]string{
		"InstancePut":   "InstancePut holds what PUT and PATCH may change of an instance.",
		"InstancesPost": "InstancesPost is the body of a POST to the collection of instances.",
		"InstancePost":  "InstancePost is the body of a POST to an instance.",
		"InstanceState": "InstanceState is the state of an instance right now.",
		"InstanceFull":  "InstanceFull is an instance together with what is known of its parts.",
		"Event":         "Event is what travels to listeners; Type tells the form of Metadata.",
	} {
		if got := typeDoc(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for jsonType, want := range map[string]string{
		"bool": "F is the f flag of the thing.", "timestamp": "F is the f time of the thing.", "array of string": "F lists the f of the thing.",
		"map[string]string": "F holds the f, by name, of the thing.", "string": "F is the f of the thing.",
	} {
		if got := fieldDoc("Thing", table.Row{"go_field": "F", "json_type": jsonType}); got != want {
			t.Errorf("%s: %s", jsonType, got)
		}
	}
}

func TestNewCategoryIsAnError(t *testing.T) {
	err := allKnown(map[string][]table.Row{"status_code": nil, "colour": nil})
	if err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("got %v", err)
	}
}

func TestSharedConstantsAreWrittenOnce(t *testing.T) {
	text := words(map[string][]table.Row{
		"instance_source_type": {{"name": "image"}, {"name": "copy"}}, "storage_volume_source_type": {{"name": "copy"}},
	})
	if strings.Count(text, "SourceTypeCopy SourceType = \"copy\"") != 1 {
		t.Error(text)
	}
}
