package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/app"
	"lxd/internal/auth"
	"lxd/internal/endpoint"
	"lxd/internal/rest"
	"lxd/scripts/internal/table"
)

// anyText is a part of a key that can be any text, however it is written.
var anyText = regexp.MustCompile(`<[^>]*>|\{[^}]*\}|\b[A-Z]+[A-Z_]*\b`)

// configuration asks a server for the description of its keys: entity, group and key, each key with * for any text.
func configuration(t *testing.T) map[string]api.MetadataConfigurationConfigKey {
	t.Helper()
	s := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return auth.Identity{}, nil }}
	s.SetPhase(rest.Serving)
	w := httptest.NewRecorder()
	s.Handler(endpoint.Metadata(app.Tables())).ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/1.0/metadata/configuration", nil))
	var answer struct{ Metadata api.MetadataConfiguration }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	all := map[string]api.MetadataConfigurationConfigKey{}
	for entity, groups := range answer.Metadata.Configs {
		for group, keys := range groups {
			for _, some := range keys.Keys {
				for name, k := range some {
					all[entity+"/"+group+" "+anyText.ReplaceAllString(name, "*")] = k
				}
			}
		}
	}
	return all
}

// own are keys that the table lacks, and why they are described.
var own = map[string]string{
	"user.*":          "every configuration has room for what users note",
	"volume.":         "what new volumes of a pool start with",
	"nictype":         "the older way of naming the type of a NIC",
	"image.*":         "what is known of the image that an instance is made of",
	"limits.kernel.*": "limits of the kernel's that processes of a container start with",
	"volatile.bridge": "kept by the server: the address that a bridge was given",
	"volatile.":       "kept by the server",
	"target_address":  "where a forward sends the ports that are not listed",
}

// Each key is described as it is published, and has a text; what is described besides is explained.
func TestConfiguration(t *testing.T) {
	rows, err := table.Read("../..", "config")
	if err != nil {
		t.Fatal(err)
	}
	have, published := configuration(t), map[string]bool{}
	for _, r := range rows {
		id := r["entity"] + "/" + r["group"] + " " + anyText.ReplaceAllString(r["key"], "*")
		published[id] = true
		k, ok := have[id]
		if !ok {
			continue
		}
		for what, pair := range map[string][2]string{
			"type": {k.Type, r["type"]}, "default": {strings.Replace(k.DefaultDescription, "same as ", "=", 1), r["default"]}, "scope": {k.Scope, r["scope"]},
			"required": {k.Required, r["required"]}, "managed": {k.Managed, r["managed"]},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: the %s is %q, the table has %q", id, what, pair[0], pair[1])
			}
		}
		if r["condition"] != "" && k.Condition != r["condition"] {
			t.Errorf("%s: the condition is %q, the table has %q", id, k.Condition, r["condition"])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		_, name, _ := strings.Cut(id, " ")
		explained := slices.ContainsFunc(slices.Collect(maps.Keys(own)), func(p string) bool { return strings.HasPrefix(name, p) })
		if !published[id] && !explained {
			t.Errorf("%s is not in the table", id)
		}
		if have[id].ShortDescription == "" || have[id].Type == "" {
			t.Errorf("%s: %+v", id, have[id])
		}
	}
	if len(have) < 300 {
		t.Errorf("only %d keys are described", len(have))
	}
}
