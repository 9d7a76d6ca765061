package aws

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/cambio-sts/cambio/exchange"
)

// A short-term Bedrock key is a presigned request to Bedrock, which the service
// verifies when the key comes as a bearer token (Amazon Bedrock User Guide,
// "Generate an Amazon Bedrock API key").
const (
	bedrockPrefix  = "bedrock-api-key-"
	bedrockURL     = "https://bedrock.amazonaws.com/"
	bedrockVersion = "&Version=1"
	emptySHA256    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// bedrockKey signs a key with the session, which itself stays here. The key lives as
// long as its caps say, however long the session does.
func (d *driver) bedrockKey(ctx context.Context, g *exchange.Grant, c *types.Credentials) (exchange.Credential, error) {
	issued := d.now().UTC().Truncate(time.Second)
	expires := g.NotAfter
	if wished := g.Now.Add(g.Lifetime); g.Lifetime > 0 && wished.Before(expires) {
		expires = wished
	}
	if c.Expiration.Before(expires) {
		expires = *c.Expiration
	}
	expires = expires.UTC().Truncate(time.Second)
	seconds := int(expires.Sub(issued) / time.Second)
	if seconds < 1 {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime, "the token you brought is about to expire: bring a fresh one", nil)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost,
		bedrockURL+"?Action=CallWithBearerToken&X-Amz-Expires="+strconv.Itoa(seconds), nil)
	if err != nil {
		return exchange.Credential{}, fmt.Errorf("writing the request that the key stands for: %w", err)
	}
	signed, _, err := d.signer.PresignHTTP(ctx, aws.Credentials{
		AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken,
	}, r, emptySHA256, "bedrock", d.settings.Region, issued)
	if err != nil {
		return exchange.Credential{}, fmt.Errorf("signing a Bedrock key: %w", err)
	}
	key := bedrockPrefix + base64.StdEncoding.EncodeToString([]byte(strings.TrimPrefix(signed, "https://")+bedrockVersion))
	return exchange.Credential{
		Value: exchange.NewSecret(key), TokenType: "Bearer", IssuedType: TokenTypeBedrockKey,
		Issued: issued, Expires: expires, Scopes: g.Scopes, Handle: *c.AccessKeyId,
	}, nil
}
