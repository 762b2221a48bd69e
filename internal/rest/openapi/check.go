package openapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Checker holds what is sent against a document. Fields that the document does not know are faults.
type Checker struct {
	find func(method, path string) string
	doc  map[string]any

	mu       sync.Mutex // compiling is not safe side by side
	compiler *jsonschema.Compiler
}

// location is the name under which schemas refer to the document.
const location = "file:///openapi.json"

// NewChecker reads the document; find tells the pattern of a request's route, as rest.Find does.
func NewChecker(document string, find func(method, path string) string) (*Checker, error) {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("read the description of the API: %w", err)
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the description of the API is no object")
	}
	schemas, _ := step(doc, "components", "schemas").(map[string]any)
	for _, s := range schemas {
		if m, ok := s.(map[string]any); ok && m["properties"] != nil {
			m["additionalProperties"] = false
		}
	}
	c := &Checker{find: find, doc: doc, compiler: jsonschema.NewCompiler()}
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource(location, doc)
}

// Exchange is a request with its answer.
type Exchange struct {
	Request *http.Request
	// Sent is the body of the request; nil is one that was not looked at.
	Sent   []byte
	Status int
	Header http.Header
	Body   []byte
}

// Check tells what of an exchange is not as the document says.
func (c *Checker) Check(x Exchange) error {
	pattern := c.find(x.Request.Method, x.Request.URL.EscapedPath())
	switch {
	case x.Request.Method == http.MethodOptions || pattern != "" && !within(Path(pattern)) || x.Status == http.StatusNotModified:
		return nil
	case pattern == "":
		return c.named(x, "no route", c.failure(x))
	case x.Status >= http.StatusBadRequest:
		return c.named(x, pattern, c.failure(x))
	}
	method, _, _ := strings.Cut(pattern, " ")
	op := pointer{"paths", Path(pattern), strings.ToLower(method)}
	return c.named(x, pattern, errors.Join(c.words(op, x), c.request(op, x), c.answer(op, x)))
}

func (c *Checker) named(x Exchange, pattern string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s (%s) answered %d: %w", x.Request.Method, x.Request.URL.RequestURI(), pattern, x.Status, err)
}

// pointer leads to a part of the document.
type pointer []string

func (p pointer) add(names ...string) pointer { return slices.Concat(p, names) }

func (p pointer) String() string {
	parts := make([]string, len(p))
	for i, name := range p {
		parts[i] = url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return location + "#/" + strings.Join(parts, "/")
}

// step looks into the document, nil where there is nothing.
func step(v any, names ...string) any {
	for _, name := range names {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			n, err := strconv.Atoi(name)
			if err != nil || n >= len(at) {
				return nil
			}
			v = at[n]
		default:
			return nil
		}
	}
	return v
}

// resolve follows a reference.
func (c *Checker) resolve(p pointer) pointer {
	if ref, ok := step(c.doc, p.add("$ref")...).(string); ok {
		return strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	}
	return p
}

// params are the words of the query that the operation knows.
func (c *Checker) params(op pointer) []string {
	list, _ := step(c.doc, op.add("parameters")...).([]any)
	var all []string
	for i := range list {
		p := c.resolve(op.add("parameters", strconv.Itoa(i)))
		if name, ok := step(c.doc, p.add("name")...).(string); ok && step(c.doc, p.add("in")...) == "query" {
			all = append(all, name)
		}
	}
	return all
}

// query reads the query as rest does: a semicolon separates nothing.
func query(r *http.Request) (url.Values, error) {
	return url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
}

// words knows that clients send the project with everything.
func (c *Checker) words(op pointer, x Exchange) error {
	known := append(c.params(op), "project")
	q, err := query(x.Request)
	if err != nil {
		return err
	}
	for name := range q {
		if !slices.Contains(known, name) {
			err = errors.Join(err, fmt.Errorf("the query has %s, which is not described", name))
		}
	}
	return err
}

// request checks the body that was sent.
func (c *Checker) request(op pointer, x Exchange) error {
	if len(x.Sent) == 0 {
		return nil
	}
	content := op.add("requestBody", "content")
	media := mediaType(x.Request.Header)
	if step(c.doc, content.add(media)...) == nil {
		if step(c.doc, content...) == nil || media == "" || strings.HasPrefix(media, "multipart/") {
			return nil // clients send an empty object or a type where nothing is read
		}
		media = "application/json"
	}
	if media != "application/json" || step(c.doc, content.add(media)...) == nil {
		return nil
	}
	if err := c.valid(content.add(media, "schema"), x.Sent); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

// answer checks an answer that is no failure.
func (c *Checker) answer(op pointer, x Exchange) error {
	p := op.add("responses", strconv.Itoa(x.Status))
	if step(c.doc, p...) == nil {
		return errors.New("the status is not described")
	}
	p = c.resolve(p)
	content, _ := step(c.doc, p.add("content")...).(map[string]any)
	if content == nil || x.Request.Method == http.MethodHead {
		return nil
	}
	media := mediaType(x.Header)
	if content[media] == nil {
		return fmt.Errorf("content of the type %q is not described", media)
	}
	if media != "application/json" {
		return nil
	}
	body, err := unpacked(x)
	if err != nil {
		return err
	}
	schema := p.add("content", media, "schema")
	if options := schema.add("anyOf"); step(c.doc, options...) != nil { // an operation, or why it failed
		var envelope struct{ Type string }
		if err := json.Unmarshal(body, &envelope); err != nil {
			return err
		}
		schema = options.add("0")
		if envelope.Type == "error" {
			schema = options.add("1")
		}
	}
	if err := c.depth(op, schema, x, body); err != nil {
		return err
	}
	return c.valid(schema, body)
}

// depth checks that the answer is the one for the recursion that was asked for.
func (c *Checker) depth(op, schema pointer, x Exchange, body []byte) error {
	options := schema.add("allOf", "1", "properties", "metadata", "anyOf")
	list, _ := step(c.doc, options...).([]any)
	if len(list) == 0 || !slices.Contains(c.params(op), "recursion") {
		return nil
	}
	q, err := query(x.Request)
	if err != nil {
		return err
	}
	depth, _, _ := strings.Cut(q.Get("recursion"), ";")
	n, _ := strconv.Atoi(depth) // what is no number is 0
	var envelope struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return err
	}
	if err := c.valid(options.add(strconv.Itoa(min(max(n, 0), len(list)-1))), envelope.Metadata); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

// failure checks the answer of a request that failed.
func (c *Checker) failure(x Exchange) error {
	if x.Request.Method == http.MethodHead {
		return nil
	}
	if x.Status < http.StatusBadRequest {
		return errors.New("nothing is described there")
	}
	if media := mediaType(x.Header); media != "application/json" {
		return fmt.Errorf("an error comes as %q", media)
	}
	body, err := unpacked(x)
	if err != nil {
		return err
	}
	var envelope struct {
		Code int `json:"error_code"`
	}
	if err := json.Unmarshal(body, &envelope); err == nil && envelope.Code != x.Status {
		return fmt.Errorf("the error_code is %d", envelope.Code)
	}
	return c.valid(pointer{"components", "schemas", "Error"}, body)
}

func mediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}

func unpacked(x Exchange) ([]byte, error) {
	if x.Header.Get("Content-Encoding") != "gzip" {
		return x.Body, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(x.Body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// valid checks JSON, and says which part of it is not as the schema asks.
func (c *Checker) valid(p pointer, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	c.mu.Lock()
	s, err := c.compiler.Compile(p.String())
	c.mu.Unlock()
	if err != nil {
		return err
	}
	err = s.Validate(v)
	if e, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return errors.New(strings.Join(leaves(e), "; "))
	}
	return err
}

// leaves are the reasons of an error, each with the part that it is about.
func leaves(e *jsonschema.ValidationError) []string {
	if len(e.Causes) == 0 {
		return []string{"/" + strings.Join(e.InstanceLocation, "/") + ": " + e.ErrorKind.LocalizedString(message.NewPrinter(language.English))}
	}
	var all []string
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}
