package door

import (
	"context"
	"net/http"
	"strings"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// How long a credential lives at least when it is handed out, unless the server is down:
// longer than what its SDK has left when it asks for the next one, or it would get the
// same again.
const (
	// tokenLeft: azidentity and google-auth ask five minutes ahead and less.
	tokenLeft = 6 * time.Minute
	// awsLeft: boto3 asks fifteen minutes ahead.
	awsLeft = 16 * time.Minute
	// ociLeft: Oracle's SDKs hold a token for dead five minutes before its end.
	ociLeft = 11 * time.Minute
)

// bearer is a credential that is sent as a bearer token.
func (r *Room) bearer(ctx context.Context, source *cambio.TokenSource) (*cambio.Credential, error) {
	c, err := source.Best(ctx, tokenLeft)
	if err == nil && !strings.EqualFold(c.Type, "Bearer") {
		return nil, &refusal{status: http.StatusForbidden, code: "wrong_target",
			text: "the target gives " + c.IssuedTokenType + ", which is no bearer token: name another target"}
	}
	return c, err
}

// lifetime is what is left of a credential, in whole seconds.
func (r *Room) lifetime(c *cambio.Credential) int64 {
	return int64(c.Expires.Sub(r.now()) / time.Second)
}

// end is when a credential ends by the clock on this machine's wall, which is the one
// that the SDK looks at: by the time that is left, not by what the clock once was.
func (r *Room) end(c *cambio.Credential) time.Time {
	now := r.now()
	return now.Round(0).Add(c.Expires.Sub(now)).UTC()
}
