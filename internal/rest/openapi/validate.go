package openapi

import (
	"context"

	"github.com/getkin/kin-openapi/openapi3"
)

// Validate fails if the document is none of OpenAPI.
func Validate(ctx context.Context, document []byte) error {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return err
	}
	return doc.Validate(ctx)
}
