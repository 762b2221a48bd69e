// Package document holds the description of the API that the server shows; scripts/docs writes it.
package document

import _ "embed"

// OpenAPI is the description as JSON.
//
//go:embed openapi.json
var OpenAPI string
