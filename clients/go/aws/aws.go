// Package aws gives credentials of a Cambio server to aws-sdk-go-v2.
//
//	source := client.TokenSource(cambio.Request{Audience: "s3-reports"})
//	cfg, err := config.LoadDefaultConfig(ctx,
//		config.WithRegion("eu-west-1"),
//		config.WithCredentialsProvider(cambioaws.NewCache(source)))
package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	// sourceName is what the SDK shows as origin of the credentials.
	sourceName = "Cambio"
	// sendLeft is how long credentials live at least when they are given out: the SDK
	// signs with them, and the request takes its time.
	sendLeft = time.Minute
	// window is how long before their end the SDK's cache asks the source each time;
	// no source renews earlier than that, see cambio.Credential.Refresh.
	window = 6 * time.Minute
)

// Read reads AWS credentials of a target that gives them (TokenTypeAWSCredentials): the
// JSON of a credential_process. Their expiry is that of the Credential, by this
// machine's clock, and not what the JSON says by another's. Errors hold no key.
func Read(c *cambio.Credential) (aws.Credentials, error) {
	switch {
	case c == nil:
		return aws.Credentials{}, errors.New("aws: there is no credential")
	case c.IssuedTokenType == cambio.TokenTypeBedrockKey:
		return aws.Credentials{}, errors.New("aws: the target gives a Bedrock API key, which is sent as a bearer token: ask a target with `format: credentials`")
	case c.IssuedTokenType != cambio.TokenTypeAWSCredentials:
		return aws.Credentials{}, fmt.Errorf("aws: the target gives %q and no AWS credentials: name a target of provider aws", c.IssuedTokenType)
	}
	var value struct {
		Version                                   int
		AccessKeyID                               string `json:"AccessKeyId"`
		SecretAccessKey, SessionToken, Expiration string
	}
	if json.Unmarshal([]byte(c.Value.Reveal()), &value) != nil || value.Version != 1 {
		return aws.Credentials{}, errors.New("aws: the credential is no JSON object of version 1: is the server newer than this package?")
	}
	if value.AccessKeyID == "" || value.SecretAccessKey == "" || value.SessionToken == "" {
		return aws.Credentials{}, errors.New("aws: the credential lacks AccessKeyId, SecretAccessKey or SessionToken")
	}
	return aws.Credentials{
		AccessKeyID: value.AccessKeyID, SecretAccessKey: value.SecretAccessKey, SessionToken: value.SessionToken,
		Source: sourceName, CanExpire: true, Expires: c.Expires,
	}, nil
}

// NewCredentialsProvider gives the credentials of a source, whose cache it leans on.
// The SDK puts a cache of its own around it: NewCache is one that lets the source renew
// ahead, while the default one holds on to credentials until they are dead.
func NewCredentialsProvider(source *cambio.TokenSource) aws.CredentialsProvider {
	return &provider{source: source}
}

// NewCache is a provider in the SDK's cache, set so that the source is asked again from
// when it may renew. Further options come after that.
func NewCache(source *cambio.TokenSource, options ...func(*aws.CredentialsCacheOptions)) *aws.CredentialsCache {
	return aws.NewCredentialsCache(NewCredentialsProvider(source), append([]func(*aws.CredentialsCacheOptions){
		func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = window },
	}, options...)...)
}

type provider struct {
	source *cambio.TokenSource
	parsed atomic.Pointer[parsed]
}

// parsed is what was read last, and of what.
type parsed struct {
	of          *cambio.Credential
	credentials aws.Credentials
}

// Retrieve is the source's credential; it lives a minute yet, or half its life if that
// is less.
func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.source.AtLeast(ctx, sendLeft)
	if err != nil {
		return aws.Credentials{}, err
	}
	if held := p.parsed.Load(); held != nil && held.of == c {
		return held.credentials, nil
	}
	credentials, err := Read(c)
	if err != nil {
		return aws.Credentials{}, err
	}
	p.parsed.Store(&parsed{of: c, credentials: credentials})
	return credentials, nil
}
