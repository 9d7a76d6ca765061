package file

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// shown is how much of a command's output comes to the log, in bytes.
const shown = 4 << 10

// shortSecret is the length below which a text is no secret: a region or a port would
// blot out half the log.
const shortSecret = 8

// tokens are JWTs and private keys, whoever they belong to.
var tokens = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*|(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))`)

// mask makes the output of a command fit for the log: without the secrets that were
// written, without control characters, and not too long.
func mask(text []byte, secrets []string) string {
	var pairs []string
	for _, secret := range slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		if len(secret) >= shortSecret {
			pairs = append(pairs, secret, "REDACTED", base64.StdEncoding.EncodeToString([]byte(secret)), "REDACTED")
		}
	}
	clean := tokens.ReplaceAllString(strings.NewReplacer(pairs...).Replace(string(text)), "REDACTED")
	clean = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && control(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(clean, "?"))
	if len(clean) > shown {
		clean = strings.ToValidUTF8(clean[:shown], "") + "…"
	}
	return strings.TrimSpace(clean)
}

// secretsOf are the texts of a credential that a log must not have: the whole, and each
// text in it if it is JSON.
func secretsOf(value string) []string {
	secrets := []string{value}
	var whole map[string]any
	if json.Unmarshal([]byte(value), &whole) != nil {
		return secrets
	}
	var walk func(any)
	walk = func(at any) {
		switch at := at.(type) {
		case string:
			secrets = append(secrets, at)
		case []any:
			for _, v := range at {
				walk(v)
			}
		case map[string]any:
			for _, v := range at {
				walk(v)
			}
		}
	}
	walk(whole)
	return secrets
}
