package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
)

// defaultVariable is what a credential is called that no SDK has a name for.
const defaultVariable = "CAMBIO_TOKEN"

// variableName is what a shell takes as the name of a variable.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// newKeyBits is what OCI takes at least.
const newKeyBits = 2048

// credential is what the token endpoint gave.
type credential struct {
	value exchange.Secret
	kind  exchange.TokenType
}

func readCredential(body []byte) (credential, error) {
	var answer struct {
		AccessToken string             `json:"access_token"`
		IssuedType  exchange.TokenType `json:"issued_token_type"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return credential{}, errors.New("the answer holds no credential: is it Cambio's URL?")
	}
	return credential{value: exchange.NewSecret(answer.AccessToken), kind: answer.IssuedType}, nil
}

// awsCredentials are in the form of credential_process.
type awsCredentials struct {
	ID     string `json:"AccessKeyId"`
	Secret string `json:"SecretAccessKey"`
	Token  string `json:"SessionToken"`
}

// ociToken is a token that is bound to a key of the caller's.
type ociToken struct {
	Token   string `json:"token"`
	KeyID   string `json:"key_id"`
	Region  string `json:"region"`
	Tenancy string `json:"tenancy"`
}

// read opens a credential that is a JSON object.
func (c credential) read(into any) error {
	if err := json.Unmarshal([]byte(c.value.Reveal()), into); err != nil {
		return fmt.Errorf("the credential is not of the form that its type %s has", clean(string(c.kind)))
	}
	return nil
}

// printEnvironment prints what SDKs read. variable names what is one text and has no
// name of its own.
func (c credential) printEnvironment(w io.Writer, variable string) error {
	var pairs [][2]string
	switch c.kind {
	case aws.TokenTypeCredentials:
		var keys awsCredentials
		if err := c.read(&keys); err != nil {
			return err
		}
		pairs = [][2]string{{"AWS_ACCESS_KEY_ID", keys.ID}, {"AWS_SECRET_ACCESS_KEY", keys.Secret}, {"AWS_SESSION_TOKEN", keys.Token}}
	case aws.TokenTypeBedrockKey:
		pairs = [][2]string{{"AWS_BEARER_TOKEN_BEDROCK", c.value.Reveal()}}
	case oci.TokenTypeRPST, oci.TokenTypeUPST:
		var t ociToken
		if err := c.read(&t); err != nil {
			return err
		}
		pairs = [][2]string{{variable, t.Token}, {"OCI_CLI_REGION", t.Region}, {"OCI_CLI_TENANCY", t.Tenancy}}
	default:
		pairs = [][2]string{{variable, c.value.Reveal()}}
	}
	for _, pair := range pairs {
		if pair[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s=%s\n", pair[0], quote(pair[1])); err != nil {
			return err
		}
	}
	return nil
}

// key is the public key to send, in the form that the endpoint takes: base64 of a
// SubjectPublicKeyInfo in DER. Empty: none is asked for.
func (f *exchangeFlags) key() (string, error) {
	switch {
	case f.publicKey != "" && f.newKey != "":
		return "", usage("choose one: --public-key or --new-key")
	case f.newKey != "":
		key, err := makePrivateKey(f.newKey)
		if err != nil {
			return "", err
		}
		return publicHalf(key)
	case f.publicKey != "":
		return readPublicKey(f.publicKey)
	}
	return "", nil
}

// readPublicKey reads a public key. A private key stays here.
func readPublicKey(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading --public-key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return "", fmt.Errorf("reading --public-key: %s holds no PEM block PUBLIC KEY: openssl pkey -in key.pem -pubout makes one", file)
	}
	return base64.StdEncoding.EncodeToString(block.Bytes), nil
}

func publicHalf(key *rsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("encoding the new key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// makePrivateKey makes a key and writes it to a new file: one that is there already
// may be somebody's only copy.
func makePrivateKey(file string) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, newKeyBits)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the new key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, usage("--new-key: %s is there already: name a new file, or its public half with --public-key", file)
	}
	if err != nil {
		return nil, fmt.Errorf("writing --new-key: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("writing --new-key: %w", err)
	}
	return key, nil
}
