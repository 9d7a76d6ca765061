// Package cambiov1 is the API, generated from the .proto files beside it by
// proto/generate.sh.
package cambiov1

import _ "embed"

// OpenAPI is the OpenAPI 2.0 document of the REST face, as generated. It must not
// be changed. (The plugin's OpenAPI 3 output is still called unstable by its
// makers.)
//
//go:embed openapi.json
var OpenAPI []byte
