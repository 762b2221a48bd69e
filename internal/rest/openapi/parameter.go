package openapi

import "github.com/getkin/kin-openapi/openapi3"

// parameter is one word of the query.
type parameter struct{ kind, text string }

// parameters are all words that routes read of their query.
var parameters = map[string]parameter{
	"all-projects":             {"boolean", "Show the objects of all projects; not together with project"},
	"disk-volumes":             {"string", "Which volumes of the instance are meant: root, or all-exclusive"},
	"code":                     {"string", "What the identity provider gave the browser, for the server to fetch its tokens with"},
	"error":                    {"string", "Why the identity provider did not let the person in"},
	"error_description":        {"string", "The same in words"},
	"state":                    {"string", "What the browser was sent to the identity provider with"},
	"token":                    {"string", "What a link opens the user interface with"},
	"email":                    {"string", "Show those of this mail address only"},
	"entity-type":              {"string", "Show those of this type of entity only"},
	"fields":                   {"string", "Parts of the state to show at recursion 2, such as state.disk,state.network"},
	"filter":                   {"string", "Show those only that match: FIELD eq|ne VALUE, joined by and, or and not"},
	"force":                    {"boolean", "Do it also where that ends what is running or removes what is inside"},
	"instance-type":            {"string", "Show those of this type only: container or virtual-machine"},
	"path":                     {"string", "The path inside the instance, or the name of the template"},
	"project":                  {"string", "The project that is meant; default without it"},
	"recursion":                {"string", "0 shows URLs, 1 the objects, 2 the objects with all that belongs to them"},
	"secret":                   {"string", "What proves the right to it, for callers that are not trusted"},
	"target":                   {"string", "The member of the cluster that is meant"},
	"timeout":                  {"integer", "How many seconds to wait; -1, as without it, is for ever"},
	"type":                     {"string", "The types of events to send, separated by commas"},
	"with-access-entitlements": {"string", "Tell which of these entitlements the caller has, separated by commas"},
}

func (p parameter) query(name string) *openapi3.Parameter {
	s := openapi3.NewSchema()
	s.Type = &openapi3.Types{p.kind}
	return openapi3.NewQueryParameter(name).WithDescription(p.text).WithSchema(s)
}
