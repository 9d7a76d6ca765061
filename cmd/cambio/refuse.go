package main

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

// refuseDevTrusts keeps the issuers of development worlds, and keys that lie in
// the open, out of a server (S35).
func refuseDevTrusts(trusts []exchange.Trust) []error {
	var faults []error
	for _, t := range trusts {
		if devworld.Plays(t.Issuer) {
			faults = append(faults, fmt.Errorf("trust %q: %s is played by cambio dev, and whoever has its data folder can be anyone there: name a real issuer (S35)", t.Name, t.Issuer))
		}
		if t.Keys.File == "" {
			continue
		}
		if err := refuseOpenKeys(t.Keys.File); err != nil {
			faults = append(faults, fmt.Errorf("trust %q: %w", t.Name, err))
		}
	}
	return faults
}

// maxKeyFile bounds a key file that is looked at for keys in the open.
const maxKeyFile = 1 << 20

// refuseOpenKeys looks at a key file for keys that cambio dev made or that are
// published with this program's tests. A file that cannot be read is the
// verifier's to complain about.
func refuseOpenKeys(file string) error {
	info, err := os.Stat(file)
	if err != nil || info.Size() > maxKeyFile {
		return nil //nolint:nilerr // the verifier says so
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil //nolint:nilerr // the verifier says so
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil {
		return nil
	}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil {
			continue
		}
		if strings.HasPrefix(key.KeyID, devworld.KeyIDPrefix) {
			return fmt.Errorf("%s holds a key that cambio dev made (S35)", file)
		}
		thumb, err := key.Thumbprint(crypto.SHA256)
		if err == nil && testKeys[base64.RawURLEncoding.EncodeToString(thumb)] {
			return fmt.Errorf("%s holds a key that is published for tests (S35)", file)
		}
	}
	return nil
}
