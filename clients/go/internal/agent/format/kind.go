package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Kinds of text that a credential is written as.
const (
	// Plain is the credential, or one field of it, and no newline.
	Plain = "plain"
	// JSON is an object for programs, named as in RFC 8693 §2.2.1.
	JSON = "json"
	// CredentialProcess is what AWS SDKs read of a `credential_process`.
	CredentialProcess = "credential-process"
	// ExecCredential is what kubectl and client-go read of an exec plugin.
	ExecCredential = "exec-credential"
	// Dotenv is lines of an env file.
	Dotenv = "dotenv"
	// Shell is lines for a POSIX shell to evaluate.
	Shell = "shell"
)

// Kinds are all kinds, the default first.
func Kinds() []string {
	return []string{Plain, JSON, CredentialProcess, ExecCredential, Dotenv, Shell}
}

// Options of Write.
type Options struct {
	// Field takes this field of a JSON credential in place of the whole: see Field.
	Field string
	// Variable is the name of the one variable of dotenv and shell: see Variables.
	Variable string
	// Exec is whom an exec-credential answers; zero: v1.
	Exec ExecInfo
}

// Check finds the faults that can be seen before there is a credential.
func (o Options) Check(kind string) error {
	lines := kind == Dotenv || kind == Shell
	switch {
	case !slices.Contains(Kinds(), kind):
		return fmt.Errorf("no format is called %q: there are %s", kind, strings.Join(Kinds(), ", "))
	case o.Field != "" && kind != Plain && kind != ExecCredential && !lines:
		return fmt.Errorf("a field is taken by the formats %s, %s, %s and %s only", Plain, ExecCredential, Dotenv, Shell)
	case o.Variable != "" && !lines:
		return fmt.Errorf("a variable is named for the formats %s and %s only", Dotenv, Shell)
	case o.Variable != "" && !variableName(o.Variable):
		return fmt.Errorf("%q names no variable: use letters, digits and _, and no digit first", o.Variable)
	case o.Field != "" && lines && o.Variable == "":
		return errors.New("a field alone needs a variable to be put in: name it")
	}
	return nil
}

// Write writes a credential as a kind of text. JSON and lines end with a newline; a plain
// credential does not, since SDKs send what they read.
func Write(kind string, c *cambio.Credential, o Options) ([]byte, error) {
	if err := o.Check(kind); err != nil {
		return nil, err
	}
	switch kind {
	case JSON:
		return document(c)
	case CredentialProcess:
		return credentialProcess(c)
	case ExecCredential:
		return execCredential(c, o)
	case Dotenv, Shell:
		variables, err := chosen(c, o)
		if err != nil {
			return nil, err
		}
		if kind == Shell {
			return shell(variables)
		}
		return dotenv(variables)
	}
	if o.Field == "" {
		return []byte(c.Value.Reveal()), nil
	}
	value, err := Field(c, o.Field)
	if err != nil {
		return nil, err
	}
	return []byte(value.Reveal()), nil
}

func chosen(c *cambio.Credential, o Options) ([]Variable, error) {
	if o.Field == "" {
		return Variables(c, o.Variable)
	}
	value, err := Field(c, o.Field)
	if err != nil {
		return nil, err
	}
	return []Variable{{Name: o.Variable, Value: value}}, nil
}

func document(c *cambio.Credential) ([]byte, error) {
	return lineOfJSON(struct {
		AccessToken string `json:"access_token"`
		IssuedType  string `json:"issued_token_type,omitempty"`
		TokenType   string `json:"token_type,omitempty"`
		Scope       string `json:"scope,omitempty"`
		// Expires is a moment: who reads this later cannot count from when it was said.
		Expires    string `json:"expires_at"`
		ExchangeID string `json:"exchange_id,omitempty"`
		LeaseID    string `json:"lease_id,omitempty"`
	}{
		AccessToken: c.Value.Reveal(), IssuedType: c.IssuedTokenType, TokenType: c.Type,
		Scope: strings.Join(c.Scopes, " "), Expires: moment(c.Expires), ExchangeID: c.ExchangeID, LeaseID: c.LeaseID,
	})
}

func lineOfJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return append(text, '\n'), nil
}

// moment writes a time to the second, rounded down: nothing is used after its end.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// token is the text that is sent as a token or a password. What has further parts, such
// as AWS credentials, is none.
func token(c *cambio.Credential) (string, error) {
	if c.Type == "N_A" && c.IssuedTokenType != cambio.TokenTypeSecret {
		return "", fmt.Errorf("the target issues %s, which is no token: name a field of it, or another target", c.IssuedTokenType)
	}
	return c.Value.Reveal(), nil
}
