package openapi_test

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/op"
	"lxd/internal/rest"
	"lxd/internal/rest/openapi"
)

// table is a small API with a route of each kind.
func table() []rest.Route {
	list := func(context.Context, *rest.Call) iter.Seq2[rest.Item[api.Profile], error] { return nil }
	show := func(context.Context, *rest.Call) (api.Profile, any, error) { return api.Profile{}, nil, nil }
	create := func(context.Context, *rest.Call, api.ProfilesPost) (string, error) { return "", nil }
	remove := func(context.Context, *rest.Call, rest.None) (op.Spec, error) { return op.Spec{}, nil }
	raw := func(http.ResponseWriter, *rest.Call) error { return nil }
	view := auth.Can("profile", "can_view")
	const one = "/1.0/profiles/{name}"
	return append([]rest.Route{
		rest.List("GET /1.0/profiles", view, list).Reads("all-projects"),
		rest.Create("POST /1.0/profiles", auth.Can("project", "can_create_profiles"), create),
		rest.Get("GET "+one, view, show),
		rest.Async("DELETE "+one, auth.Can("profile", "can_delete"), remove).Reads("force"),
		rest.Raw("GET "+one+"/files/{path...}", auth.Public, raw).Reads("path").Global().Answers(rest.Bytes(), rest.JSON[[]string]()),
		rest.Raw("GET /1.0/events", auth.Authenticated, raw).Answers(rest.Upgrade()),
		rest.Raw("GET /1.0/wait", auth.Authenticated, raw).Answers(rest.JSON[api.Operation](), rest.JSON[rest.Failure]()),
		rest.Sync("GET /internal/ready", auth.Public, func(context.Context, *rest.Call, rest.None) (rest.None, error) { return rest.None{}, nil }),
	}, rest.Edit(one, view, rest.Editor[api.ProfilePut]{})...)
}

// built is the document of the table as JSON.
func built(t *testing.T) []byte {
	t.Helper()
	texts := map[string]string{"Profile": "A profile.", "Profile.Name": "Its name."}
	b, err := json.Marshal(openapi.Build(openapi.Source{Texts: texts, IDs: map[string]string{"GET /1.0/profiles/{}": "profile_get"}}, table()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// at looks into JSON; the names of a path are separated by spaces.
func at(t *testing.T, doc []byte, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, " ") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func TestBuild(t *testing.T) {
	doc := built(t)
	if err := openapi.Validate(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"paths /internal/ready":                                                       nil,
		"paths /1.0/profiles/{name} get operationId":                                  "profile_get",
		"paths /1.0/profiles get operationId":                                         "profiles_get",
		"paths /1.0/profiles get summary":                                             "List the profiles",
		"paths /1.0/profiles post summary":                                            "Make a new profile",
		"paths /1.0/profiles/{name} get description":                                  "Needs the entitlement `can_view` on the profile.",
		"paths /1.0/profiles/{name} delete responses 202 $ref":                        "#/components/responses/Operation",
		"paths /1.0/profiles/{name} put responses 200 $ref":                           "#/components/responses/Empty",
		"paths /1.0/profiles post responses 201 $ref":                                 "#/components/responses/Created",
		"paths /1.0/profiles post responses default $ref":                             "#/components/responses/Error",
		"paths /1.0/events get responses 101 content":                                 nil,
		"paths /1.0/profiles/{name}/files/{path} get responses 200 content text/html": nil,
		"components schemas Profile description":                                      "A profile.",
		"components schemas Profile properties name description":                      "Its name.",
		"components schemas Profile properties config type":                           "object",
		"components schemas ProfilesPost required":                                    nil,
		"components schemas ProfilesPost properties config type":                      []any{"object", "null"},
	} {
		if got := at(t, doc, path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"paths /1.0/profiles get parameters":                                  `parameters/all-projects"},{"$ref":"#/components/parameters/filter"},{"$ref":"#/components/parameters/project"},{"$ref":"#/components/parameters/recursion"},{"$ref":"#/components/parameters/with-access-entitlements"}]`,
		"paths /1.0/profiles/{name} put parameters":                           `"in":"path","name":"name","required":true,"schema":{"type":"string"}},{"$ref":"#/components/parameters/project"},{"$ref":"#/components/parameters/If-Match"}]`,
		"paths /1.0/profiles/{name}/files/{path} get parameters":              `{"$ref":"#/components/parameters/path"}]`,
		"paths /1.0/profiles/{name} get responses 200 headers":                `components/headers/ETag`,
		"paths /1.0/profiles get responses 200 content application/json":      `{"anyOf":[{"items":{"type":"string"},"type":"array"},{"items":{"$ref":"#/components/schemas/Profile"},"type":"array"}]}`,
		"paths /1.0/profiles/{name}/files/{path} get responses 200 content":   `"application/octet-stream":{"schema":{}}`,
		"paths /1.0/wait get responses 200 content application/json schema":   `{"$ref":"#/components/schemas/Error"}`,
		"components schemas Profile required":                                 `"used_by"`,
		"paths /1.0/profiles/{name} put requestBody content application/json": `"#/components/schemas/ProfilePut"`,
		"paths /1.0/profiles/{name}/files/{path} get security":                `[{},`,
		"components schemas Operation properties requestor":                   `{"anyOf":[{"$ref":"#/components/schemas/OperationRequestor"},{"type":"null"}]}`,
		"components schemas Error properties error_code":                      `"minimum":400`,
		"components responses Created content application/json schema allOf":  ``,
		"components responses Operation headers Location":                     `headers/Location`,
		"components schemas Async properties status_code":                     `{"const":100}`,
		"components schemas Sync properties status":                           `{"const":"Success"}`,
		"components securitySchemes bearer":                                   `"scheme":"bearer"`,
		"paths /1.0/profiles/{name}/files/{path} get responses default":       `Error`,
		"paths /1.0/profiles/{name} delete parameters":                        `parameters/force`,
		"components parameters force schema":                                  `"boolean"`,
		"paths /1.0/profiles/{name} get tags":                                 `profiles`,
	} {
		b, err := json.Marshal(at(t, doc, path))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, want %s %v", path, b, want, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []string{`{}`, `no`, `{"openapi":"3.1.0","info":{"title":"x","version":"1"},"paths":{"/x":{"get":{"responses":{"200":{"$ref":"#/components/responses/None"}}}}}}`} {
		if openapi.Validate(t.Context(), []byte(bad)) == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
