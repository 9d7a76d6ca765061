package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Field is one field of a credential that is a JSON object, such as AWS credentials, an
// OCI session, or the `data` of a Vault lease. The name is that of a field, of which a
// lease's data come first, or a JSON pointer that begins with a slash (RFC 6901). Text is
// returned as it is, everything else as JSON. No error holds a value.
func Field(c *cambio.Credential, name string) (cambio.Secret, error) {
	whole, err := object(c)
	if err != nil {
		return cambio.Secret{}, err
	}
	var found any
	if strings.HasPrefix(name, "/") {
		found, err = pointed(whole, name)
	} else {
		found, err = named(c, whole, name)
	}
	if err != nil {
		return cambio.Secret{}, err
	}
	return written(found, name)
}

// object is the credential as JSON.
func object(c *cambio.Credential) (map[string]any, error) {
	var whole map[string]any
	decoder := json.NewDecoder(strings.NewReader(c.Value.Reveal()))
	decoder.UseNumber() // a number stays as it was written
	if err := decoder.Decode(&whole); err != nil || whole == nil {
		return nil, errors.New("the credential is no JSON object, it has no fields")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the credential is more than one JSON object")
	}
	return whole, nil
}

func named(c *cambio.Credential, whole map[string]any, name string) (any, error) {
	fields := whole
	if c.IssuedTokenType == cambio.TokenTypeVaultLease {
		if data, ok := whole["data"].(map[string]any); ok {
			if found, ok := data[name]; ok {
				return found, nil
			}
			fields = data
		}
	}
	if found, ok := whole[name]; ok {
		return found, nil
	}
	return nil, fmt.Errorf("the credential has no field %q, it has %s", name, names(fields))
}

// names lists a few names of fields, for who misspelt one.
func names(fields map[string]any) string {
	const most = 12
	var list []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if len(list) == most {
			list = append(list, "…")
			break
		}
		list = append(list, strconv.Quote(cut(name)))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func cut(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func pointed(at any, pointer string) (any, error) {
	for _, step := range strings.Split(pointer, "/")[1:] {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		switch here := at.(type) {
		case map[string]any:
			next, ok := here[step]
			if !ok {
				return nil, fmt.Errorf("the credential has nothing at %q: there is no %q, there is %s", pointer, step, names(here))
			}
			at = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(here) || strconv.Itoa(i) != step {
				return nil, fmt.Errorf("the credential has nothing at %q: %q is no place in a list of %d", pointer, step, len(here))
			}
			at = here[i]
		default:
			return nil, fmt.Errorf("the credential has nothing at %q: what holds %q has no fields", pointer, step)
		}
	}
	return at, nil
}

func written(found any, name string) (cambio.Secret, error) {
	switch found := found.(type) {
	case nil:
		return cambio.Secret{}, fmt.Errorf("field %q of the credential is null", name)
	case string:
		return cambio.NewSecret(found), nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(found); err != nil {
		return cambio.Secret{}, fmt.Errorf("field %q: %w", name, err)
	}
	return cambio.NewSecret(strings.TrimSuffix(b.String(), "\n")), nil
}
