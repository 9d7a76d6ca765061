package main

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
)

// authorize puts the credential on a request, in the way that its type wants.
func (c credential) authorize(r *http.Request, body []byte, key *rsa.PrivateKey) error {
	switch c.kind {
	case aws.TokenTypeCredentials:
		var keys awsCredentials
		if err := c.read(&keys); err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		err := v4.NewSigner().SignHTTP(r.Context(), sdk.Credentials{
			AccessKeyID: keys.ID, SecretAccessKey: keys.Secret, SessionToken: keys.Token,
		}, r, hex.EncodeToString(sum[:]), "bedrock", awssandbox.DefaultRegion, time.Now())
		if err != nil {
			return fmt.Errorf("signing for AWS: %w", err)
		}
	case oci.TokenTypeRPST, oci.TokenTypeUPST:
		var t ociToken
		if err := c.read(&t); err != nil {
			return err
		}
		if key == nil {
			return errors.New("signing for OCI: there is no key")
		}
		r.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		r.Header.Set("Content-Length", strconv.Itoa(len(body))) // the signer reads it there
		if err := common.DefaultRequestSigner(ociKey{t.KeyID, key}).Sign(r); err != nil {
			return fmt.Errorf("signing for OCI: %w", err)
		}
	default:
		r.Header.Set("Authorization", "Bearer "+c.value.Reveal())
	}
	return nil
}

// ociKey is a key and its name, for OCI's signer.
type ociKey struct {
	id  string
	key *rsa.PrivateKey
}

// PrivateRSAKey is the key.
func (k ociKey) PrivateRSAKey() (*rsa.PrivateKey, error) { return k.key, nil }

// KeyID is its name.
func (k ociKey) KeyID() (string, error) { return k.id, nil }
