package openapi

import (
	"reflect"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"lxd/internal/rest"
)

// builder collects the schemas of the types that routes use.
type builder struct {
	Source
	schemas openapi3.Schemas
	// shown are the types that are part of answers.
	shown map[reflect.Type]bool
}

// show notes the types that an answer has. Answers have all their fields and requests may leave any out, so that a type of both has
// two schemas.
func (b *builder) show(t reflect.Type) {
	if t == nil {
		return
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		b.show(t.Elem())
	case reflect.Struct:
		if b.shown[t] || t == reflect.TypeFor[time.Time]() {
			return
		}
		b.shown[t] = true
		for i := range t.NumField() {
			b.show(t.Field(i).Type)
		}
	}
}

// plain are the schemas of kinds that need no more.
var plain = map[reflect.Kind]func() *openapi3.Schema{
	reflect.String: openapi3.NewStringSchema, reflect.Bool: openapi3.NewBoolSchema, reflect.Float64: openapi3.NewFloat64Schema,
	reflect.Int: openapi3.NewIntegerSchema, reflect.Int64: openapi3.NewIntegerSchema, reflect.Uint64: openapi3.NewIntegerSchema,
	reflect.Int32: openapi3.NewIntegerSchema, reflect.Uint32: openapi3.NewIntegerSchema,
}

// ref is the schema of a type, for requests (in) or answers.
func (b *builder) ref(t reflect.Type, in bool) *openapi3.SchemaRef {
	if t == reflect.TypeFor[time.Time]() {
		return openapi3.NewDateTimeSchema().NewRef()
	}
	if make := plain[t.Kind()]; make != nil {
		return make().NewRef()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(b.ref(t.Elem(), in))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // raw JSON
			return (&openapi3.Schema{}).NewRef()
		}
		s := openapi3.NewArraySchema()
		s.Items = b.ref(t.Elem(), in)
		return optional(s, in)
	case reflect.Map:
		s := openapi3.NewObjectSchema()
		s.AdditionalProperties = openapi3.AdditionalProperties{Schema: b.ref(t.Elem(), in)}
		if in {
			s.AdditionalProperties.Schema = nullable(s.AdditionalProperties.Schema)
		}
		return optional(s, in)
	case reflect.Struct:
		return b.component(t, in)
	}
	return (&openapi3.Schema{}).NewRef()
}

// optional lets requests send null for an empty list or map.
func optional(s *openapi3.Schema, in bool) *openapi3.SchemaRef {
	if in {
		return nullable(s.NewRef())
	}
	return s.NewRef()
}

func nullable(s *openapi3.SchemaRef) *openapi3.SchemaRef {
	if s.Ref == "" && s.Value.Type != nil {
		s.Value.Type = &openapi3.Types{(*s.Value.Type)[0], "null"}
		return s
	}
	if s.Ref == "" {
		return s
	}
	return either(openapi3.SchemaRefs{s, null()})
}

// component is the schema of a struct, which is kept under its name.
func (b *builder) component(t reflect.Type, in bool) *openapi3.SchemaRef {
	name := t.Name()
	if t.PkgPath() != reflect.TypeFor[rest.None]().PkgPath() && in && b.shown[t] {
		name += "Input"
	}
	if b.schemas[name] == nil {
		s := openapi3.NewObjectSchema()
		s.Description = b.Texts[t.Name()]
		b.schemas[name] = s.NewRef() // before its fields, since types can contain themselves
		s.Properties = openapi3.Schemas{}
		b.fields(s, t, in)
	}
	return schemaRef(name)
}

// fields adds the fields of a struct; those of embedded ones are on the same level.
func (b *builder) fields(s *openapi3.Schema, t reflect.Type, in bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			b.fields(s, f.Type, in)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if !in && !strings.Contains(options, "omitempty") {
			s.Required = append(s.Required, name)
		}
		field := b.ref(f.Type, in)
		if !in && nulls[t.Name()+"."+f.Name] {
			field = nullable(field)
		}
		if text := b.Texts[t.Name()+"."+f.Name]; text != "" && field.Ref == "" {
			field.Value.Description = text
		}
		s.Properties[name] = field
	}
}

// nulls are lists and maps that are null where there is nothing to tell.
var nulls = map[string]bool{
	"InstanceState.Network": true, "InstanceState.Disk": true, "InstanceFull.Backups": true, "InstanceFull.Snapshots": true,
	"Operation.Metadata": true, "Operation.Resources": true, "ImageMetadata.Templates": true, "StoragePool.Config": true,
}
