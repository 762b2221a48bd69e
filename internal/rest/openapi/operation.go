package openapi

import (
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"lxd/api"
	"lxd/internal/rest"
)

var (
	pathParameter = regexp.MustCompile(`\{([^}.]*)(\.\.\.)?\}`)
	notWord       = regexp.MustCompile(`[^a-z0-9]+`)
)

// Canonical is a pattern with {} for each parameter, to compare patterns that name them differently.
func Canonical(pattern string) string { return pathParameter.ReplaceAllString(pattern, "{}") }

// operation describes one route.
func (b *builder) operation(r rest.Route) *openapi3.Operation {
	method, path, _ := strings.Cut(r.Pattern, " ")
	op := openapi3.NewOperation()
	op.OperationID = b.IDs[Canonical(r.Pattern)]
	if op.OperationID == "" {
		if strings.HasSuffix(path, "/") { // an address of its own beside the one without
			path += "index"
		}
		op.OperationID = strings.Trim(notWord.ReplaceAllString(strings.ToLower(strings.TrimPrefix(path, "/1.0")+"_"+method), "_"), "_")
	}
	op.Tags = []string{tag(path)}
	op.Summary = summary(method, path)
	op.Description = access(r.Access)
	if r.Access.Open() {
		op.Security = &openapi3.SecurityRequirements{{}, {"tls": {}}, {"bearer": {}}}
	}
	for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
		op.Parameters = append(op.Parameters, &openapi3.ParameterRef{Value: openapi3.NewPathParameter(m[1]).WithSchema(openapi3.NewStringSchema())})
	}
	for _, name := range r.Params() {
		op.Parameters = append(op.Parameters, &openapi3.ParameterRef{Ref: "#/components/parameters/" + name})
	}
	if r.Doc.Matches {
		op.Parameters = append(op.Parameters, &openapi3.ParameterRef{Ref: "#/components/parameters/If-Match"})
	}
	op.RequestBody = b.request(r)
	op.Responses = b.responses(r)
	return op
}

// access tells what a caller needs.
func access(a rest.Access) string {
	entity, entitlement, ok := strings.Cut(a.String(), ":")
	switch {
	case ok:
		return "Needs the entitlement `" + entitlement + "` on the " + strings.ReplaceAll(entity, "_", " ") + "."
	case a.Open():
		return "Open to everyone; what is shown can depend on who asks."
	}
	return "For all who proved who they are; what is shown depends on their rights."
}

func tag(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 2 {
		return "server"
	}
	return parts[1]
}

// request is the body that the route reads, nil if it reads none.
func (b *builder) request(r rest.Route) *openapi3.RequestBodyRef {
	bodies := r.Doc.Accepts
	if !empty(r.In) {
		bodies = append([]rest.Body{{Go: r.In}}, bodies...)
	}
	if len(bodies) == 0 {
		return nil
	}
	content := openapi3.Content{}
	for _, body := range bodies {
		if body.Media == "" {
			content["application/json"] = openapi3.NewMediaType().WithSchemaRef(b.ref(body.Go, true))
			continue
		}
		content[body.Media] = openapi3.NewMediaType().WithSchema(&openapi3.Schema{})
	}
	return &openapi3.RequestBodyRef{Value: openapi3.NewRequestBody().WithRequired(true).WithContent(content)}
}

// answers are all forms of a route's answer.
func answers(r rest.Route) []rest.Body {
	var all []rest.Body
	switch {
	case len(r.Doc.Depths) > 0:
		for _, t := range r.Doc.Depths {
			all = append(all, rest.Body{Go: t})
		}
	case r.Kind == rest.SyncKind:
		all = append(all, rest.Body{Go: r.Out})
	case r.Kind == rest.AsyncKind:
		all = append(all, rest.Body{Status: http.StatusAccepted, Go: reflect.TypeFor[api.Operation]()})
	case r.Kind == rest.CreateKind:
		all = append(all, rest.Body{Status: http.StatusCreated})
	}
	for _, body := range r.Doc.Answers {
		if body.Status == http.StatusCreated && body.Go == nil {
			continue
		}
		all = append(all, body)
	}
	for i := range all {
		if all[i].Status == 0 {
			all[i].Status = http.StatusOK
		}
	}
	return all
}

func empty(t reflect.Type) bool { return t == nil || t == reflect.TypeFor[rest.None]() }

// responses describes what the route answers.
func (b *builder) responses(r rest.Route) *openapi3.Responses {
	out := openapi3.NewResponsesWithCapacity(4)
	byStatus := map[int][]rest.Body{}
	for _, body := range answers(r) {
		byStatus[body.Status] = append(byStatus[body.Status], body)
	}
	for status, bodies := range byStatus {
		res := b.response(status, bodies)
		if r.MayBeNull() {
			options := res.Value.Content["application/json"].Schema.Value.AllOf[1].Value.Properties["metadata"].Value.AnyOf
			for i := range options {
				options[i] = nullable(options[i])
			}
		}
		out.Set(strconv.Itoa(status), res)
	}
	out.Set("default", &openapi3.ResponseRef{Ref: "#/components/responses/Error"})
	return out
}

// response describes the answers of one status.
func (b *builder) response(status int, bodies []rest.Body) *openapi3.ResponseRef {
	if len(bodies) == 1 && bodies[0].Media == "" {
		switch {
		case status == http.StatusAccepted:
			return &openapi3.ResponseRef{Ref: "#/components/responses/Operation"}
		case status == http.StatusCreated && bodies[0].Go == nil:
			return &openapi3.ResponseRef{Ref: "#/components/responses/Created"}
		case status == http.StatusOK && empty(bodies[0].Go):
			return &openapi3.ResponseRef{Ref: "#/components/responses/Empty"}
		}
	}
	res := openapi3.NewResponse().WithDescription(http.StatusText(status))
	if status == http.StatusSwitchingProtocols {
		return &openapi3.ResponseRef{Value: res}
	}
	content, metadata, failure := openapi3.Content{}, openapi3.SchemaRefs(nil), false
	for _, body := range bodies {
		switch {
		case body.Media != "":
			content[body.Media] = openapi3.NewMediaType().WithSchema(&openapi3.Schema{})
		case body.Go == reflect.TypeFor[rest.Failure]():
			failure = true
		default:
			metadata = append(metadata, b.metadata(body.Go))
		}
	}
	if len(metadata) > 0 {
		schema := success(either(metadata))
		if failure {
			schema = either(openapi3.SchemaRefs{schema, schemaRef("Error")})
		}
		content["application/json"] = openapi3.NewMediaType().WithSchemaRef(schema)
	}
	if status == http.StatusCreated {
		res.Headers = openapi3.Headers{"Location": {Ref: "#/components/headers/Location"}}
	}
	return &openapi3.ResponseRef{Value: res.WithContent(content)}
}

func (b *builder) metadata(t reflect.Type) *openapi3.SchemaRef {
	switch {
	case t == nil:
		return null()
	case empty(t):
		return &openapi3.SchemaRef{Value: openapi3.NewObjectSchema().WithMaxProperties(0)}
	}
	return b.ref(t, false)
}

// either is any of the schemas. They are not told apart by oneOf, since an empty list is a list of anything.
func either(all openapi3.SchemaRefs) *openapi3.SchemaRef {
	if len(all) == 1 {
		return all[0]
	}
	return &openapi3.SchemaRef{Value: &openapi3.Schema{AnyOf: all}}
}
