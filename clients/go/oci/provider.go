package oci

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"net/http"

	"github.com/oracle/oci-go-sdk/v65/common"
)

// Provider is the session as Oracle's clients take it, for
// New…ClientWithConfigurationProvider. They read key and token one after the other and
// unlocked; as the key never changes, any two of them fit.
func (s *Session) Provider() common.ConfigurationProvider { return provider{s} }

// Signer is the session for what takes an HTTPRequestSigner, such as BaseClient.Signer.
// A request's own context bounds how long it waits. Uploads to Object Storage want a
// client made with Provider: the SDK signs them without their body.
func (s *Session) Signer() common.HTTPRequestSigner { return signer{s.Sign} }

// signer signs in the context of the request.
type signer struct {
	sign func(context.Context, *http.Request) error
}

func (s signer) Sign(req *http.Request) error { return s.sign(req.Context(), req) }

type provider struct{ session *Session }

// current is what to sign with. The SDK's interface has no context; the client's
// timeout bounds the wait.
func (p provider) current() (Credential, error) { return p.session.Current(context.Background()) }

// KeyID is `keyId` of a signature.
func (p provider) KeyID() (string, error) {
	credential, err := p.current()
	if err != nil {
		return "", err
	}
	return credential.KeyID.Reveal(), nil
}

// PrivateRSAKey refuses, so that the SDK asks for a signer: the key is not handed around.
func (p provider) PrivateRSAKey() (*rsa.PrivateKey, error) {
	return nil, errors.New("oci: the session's key is used through PrivateKeySigner")
}

// PrivateKeySigner is what the SDK signs with in place of a key.
func (p provider) PrivateKeySigner() (crypto.Signer, error) { return p.session.key, nil }

// TenancyOCID is what the token's domain said, or empty.
func (p provider) TenancyOCID() (string, error) {
	credential, err := p.current()
	return credential.Tenancy, err
}

// UserOCID is empty: the token says who it is for.
func (p provider) UserOCID() (string, error) { return "", nil }

// KeyFingerprint is empty: the token names the key.
func (p provider) KeyFingerprint() (string, error) { return "", nil }

// Region is the target's.
func (p provider) Region() (string, error) {
	credential, err := p.current()
	return credential.Region, err
}

// AuthType is none of those that the SDK treats by themselves.
func (p provider) AuthType() (common.AuthConfig, error) {
	return common.AuthConfig{AuthType: common.UnknownAuthenticationType}, nil
}
