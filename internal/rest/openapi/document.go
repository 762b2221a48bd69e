// Package openapi describes tables of routes as an OpenAPI document, and holds requests and answers against one.
//
// The daemon does not use it: it serves the document that is checked in.
package openapi

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"lxd/api"
	"lxd/internal/rest"
)

// Source is what a document is made of besides the routes.
type Source struct {
	// Texts are the comments of types and fields: "Instance", "Instance.Name".
	Texts map[string]string
	// IDs names routes, by pattern with {} for each parameter; others are named after their patterns.
	IDs map[string]string
}

// Build describes the routes that are part of the API: those of / and /1.0.
func Build(src Source, tables ...[]rest.Route) *openapi3.T {
	routes := slices.DeleteFunc(slices.Concat(tables...), func(r rest.Route) bool { return !within(Path(r.Pattern)) })
	b := &builder{Source: src, schemas: openapi3.Schemas{}, shown: map[reflect.Type]bool{}}
	for _, r := range routes {
		for _, body := range answers(r) {
			b.show(body.Go)
		}
	}
	doc := &openapi3.T{
		OpenAPI: "3.1.0",
		Info: &openapi3.Info{Title: "LXD", Version: api.Version, Description: "The REST API of the server. Every answer but raw content is an envelope " +
			"whose type is sync, async or error. Work that takes time answers 202 with an operation, which can be waited for."},
		Paths:    openapi3.NewPaths(),
		Security: openapi3.SecurityRequirements{{"tls": {}}, {"bearer": {}}},
		Servers:  openapi3.Servers{{URL: "/"}},
	}
	edited := map[string]bool{}
	for _, r := range routes {
		if _, path, _ := strings.Cut(r.Pattern, " "); r.Doc.Matches {
			edited[path] = true
		}
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.Pattern, " ")
		op := b.operation(r)
		if ok := op.Responses.Value("200"); method == http.MethodGet && edited[path] && ok != nil && ok.Value != nil {
			ok.Value.Headers = openapi3.Headers{"ETag": {Ref: "#/components/headers/ETag"}}
		}
		doc.AddOperation(Path(r.Pattern), method, op)
	}
	doc.Components = b.components()
	return doc
}

// within tells whether a path is one of the API; the daemon's own commands, browsers and other protocols have others.
func within(path string) bool {
	return path == "/" || path == "/1.0" || strings.HasPrefix(path, "/1.0/")
}

// Path is the path of a pattern as the document names it.
func Path(pattern string) string {
	_, path, _ := strings.Cut(pattern, " ")
	return strings.ReplaceAll(path, "...}", "}")
}

// components are the parts that many operations share.
func (b *builder) components() *openapi3.Components {
	c := openapi3.NewComponents()
	b.schemas["Sync"] = envelope("sync", "Success", &openapi3.Schema{})
	b.schemas["Async"] = envelope("async", "Operation created", &openapi3.Schema{Const: http.StatusContinue})
	b.schemas["Async"].Value.Properties["metadata"] = b.ref(reflect.TypeFor[api.Operation](), false)
	b.schemas["Async"].Value.Properties["operation"] = openapi3.NewStringSchema().NewRef()
	b.schemas["Sync"].Value.Properties["status_code"] = constant(http.StatusOK)
	b.schemas["Error"] = envelope("error", "", nil)
	b.schemas["Error"].Value.Properties["error_code"] = &openapi3.SchemaRef{Value: openapi3.NewIntegerSchema().WithMin(400)}
	b.schemas["Error"].Value.Properties["error"] = &openapi3.SchemaRef{Value: openapi3.NewStringSchema().WithMinLength(1)}
	b.schemas["Error"].Value.Properties["metadata"] = null()
	c.Schemas = b.schemas
	c.Responses = openapi3.ResponseBodies{
		"Error":     response("What went wrong", schemaRef("Error")),
		"Operation": response("The work has begun", schemaRef("Async")),
		"Empty":     response("Done", success(&openapi3.SchemaRef{Value: openapi3.NewObjectSchema().WithMaxProperties(0)})),
		"Created":   response("It is made", success(null())),
	}
	location := &openapi3.HeaderRef{Value: &openapi3.Header{Parameter: openapi3.Parameter{Description: "Where it is", Schema: openapi3.NewStringSchema().NewRef()}}}
	c.Headers = openapi3.Headers{"Location": location,
		"ETag": {Value: &openapi3.Header{Parameter: openapi3.Parameter{Description: "The version of the object, for If-Match", Schema: openapi3.NewStringSchema().NewRef()}}}}
	for _, name := range []string{"Operation", "Created"} {
		c.Responses[name].Value.Headers = openapi3.Headers{"Location": {Ref: "#/components/headers/Location"}}
	}
	c.SecuritySchemes = openapi3.SecuritySchemes{
		"tls":    {Value: &openapi3.SecurityScheme{Type: "mutualTLS", Description: "A client certificate that the server trusts"}},
		"bearer": {Value: &openapi3.SecurityScheme{Type: "http", Scheme: "bearer", Description: "A token of a bearer identity, or of the identity provider"}},
	}
	c.Parameters = openapi3.ParametersMap{}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		c.Parameters[name] = &openapi3.ParameterRef{Value: parameters[name].query(name)}
	}
	c.Parameters["If-Match"] = &openapi3.ParameterRef{Value: openapi3.NewHeaderParameter("If-Match").
		WithDescription("The ETag that the object must still have; 412 if it has another").WithSchema(openapi3.NewStringSchema())}
	return &c
}

// envelope is the schema of one type of answer; all seven keys are always there.
func envelope(kind, status string, code *openapi3.Schema) *openapi3.SchemaRef {
	s := openapi3.NewObjectSchema()
	s.Required = []string{"type", "status", "status_code", "operation", "error_code", "error", "metadata"}
	s.Properties = openapi3.Schemas{
		"type": constant(kind), "status": constant(status), "status_code": constant(0), "operation": constant(""), "error_code": constant(0),
		"error": constant(""), "metadata": {Value: &openapi3.Schema{}},
	}
	if code != nil && code.Const != nil {
		s.Properties["status_code"] = code.NewRef()
	}
	s.Description = "The envelope of an answer of the type " + kind
	return s.NewRef()
}

// success is the envelope of an answer at once with that metadata.
func success(metadata *openapi3.SchemaRef) *openapi3.SchemaRef {
	rest := &openapi3.Schema{Properties: openapi3.Schemas{"metadata": metadata}}
	return &openapi3.SchemaRef{Value: &openapi3.Schema{AllOf: openapi3.SchemaRefs{schemaRef("Sync"), rest.NewRef()}}}
}

func response(text string, schema *openapi3.SchemaRef) *openapi3.ResponseRef {
	return &openapi3.ResponseRef{Value: openapi3.NewResponse().WithDescription(text).WithContent(openapi3.NewContentWithJSONSchemaRef(schema))}
}

func schemaRef(name string) *openapi3.SchemaRef {
	return &openapi3.SchemaRef{Ref: "#/components/schemas/" + name}
}

func constant(v any) *openapi3.SchemaRef {
	return &openapi3.SchemaRef{Value: &openapi3.Schema{Const: v}}
}

func null() *openapi3.SchemaRef {
	return &openapi3.SchemaRef{Value: &openapi3.Schema{Type: &openapi3.Types{"null"}}}
}
