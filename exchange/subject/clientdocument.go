package subject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// clientKeys reads a client-id metadata document, and returns the JWK Set that the
// client's assertions are verified by (draft-ietf-oauth-client-id-metadata-document
// §4). The address is the client_id, and stands in policy; the document's jwks_uri is
// followed as an issuer's is.
//
// A document that names another client, or a secret, or another way to authenticate
// than by a key, is refused whole: it is not about the client that policy means.
func clientKeys(ctx context.Context, f *fetcher, address string) ([]byte, error) {
	body, err := f.get(ctx, address, nil)
	if err != nil {
		return nil, fmt.Errorf("client metadata: %w", err)
	}
	document, err := decodeObject(string(body))
	if err != nil {
		return nil, fmt.Errorf("client metadata: reading the document: %w", err)
	}
	if named, _ := document["client_id"].(string); named != address {
		return nil, fmt.Errorf("client metadata: the document is about the client %q", clip(named))
	}
	for _, name := range []string{"client_secret", "client_secret_expires_at"} {
		if _, present := document[name]; present {
			return nil, fmt.Errorf("client metadata: the document has %s, which everybody can read", name)
		}
	}
	if method, _ := document["token_endpoint_auth_method"].(string); method != "private_key_jwt" {
		return nil, fmt.Errorf("client metadata: token_endpoint_auth_method is %q, and must be private_key_jwt", clip(method))
	}
	keys, inline := document["jwks"]
	location, elsewhere := document["jwks_uri"]
	if inline == elsewhere { // RFC 7591 §2: one of the two
		return nil, errors.New("client metadata: the document must have either jwks or jwks_uri")
	}
	if inline {
		return json.Marshal(keys)
	}
	at, _ := location.(string)
	if err := checkURL(at); err != nil {
		return nil, fmt.Errorf("client metadata: jwks_uri: %w", err)
	}
	if !strings.HasPrefix(strings.ToLower(at), "https://") {
		return nil, errors.New("client metadata: jwks_uri: it must begin with https://")
	}
	return f.get(ctx, at, nil)
}
