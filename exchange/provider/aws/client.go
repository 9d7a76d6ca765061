package aws

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// maxAnswer bounds what STS may say, in bytes. A real answer has some 3 KB.
const maxAnswer = 128 << 10

// Repeating a request for a session is safe: one whose answer was lost was never
// handed to anybody, and ends by itself. The whole takes well less than the deadline
// of a vending, so that throttling is still told apart from slowness.
const (
	attempts   = 3
	maxBackoff = 500 * time.Millisecond
)

// clientOptions make a client that takes nothing from the environment.
func clientOptions(region, endpoint string, client *http.Client, now func() time.Time) sts.Options {
	return sts.Options{
		Region: region, BaseEndpoint: &endpoint, HTTPClient: narrow{client},
		HTTPSignerV4: clock{v4.NewSigner(), now}, DisableClockSkewCorrection: true,
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff
		}),
	}
}

// clock signs by the house's time.
type clock struct {
	signer *v4.Signer
	now    func() time.Time
}

// SignHTTP signs.
func (c clock) SignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, payloadHash, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) error {
	return c.signer.SignHTTP(ctx, credentials, r, payloadHash, service, region, c.now(), options...)
}

// noAnswer: what came is no answer of an STS. Asking again would bring the same.
type noAnswer struct{}

func (noAnswer) Error() string { return "the answer is not one of STS" }

// RetryableError tells the SDK not to ask again.
func (noAnswer) RetryableError() bool { return false }

var errAnswer error = noAnswer{}

// narrow takes only what an STS would send.
type narrow struct{ client *http.Client }

// Do is one call.
func (n narrow) Do(r *http.Request) (*http.Response, error) {
	answer, err := n.client.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
		if kind != "text/xml" && kind != "application/xml" {
			_ = answer.Body.Close()
			return nil, fmt.Errorf("%w: its content type is %.40q", errAnswer, kind)
		}
	} else if answer.StatusCode < 400 {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%w: it is a redirect, with status %d", errAnswer, answer.StatusCode)
	}
	answer.Body = &short{body: answer.Body, left: maxAnswer}
	return answer, nil
}

// short fails past its limit.
type short struct {
	body io.ReadCloser
	left int
}

// Read reads on, up to the limit.
func (s *short) Read(p []byte) (int, error) {
	if len(p) > s.left+1 {
		p = p[:s.left+1]
	}
	n, err := s.body.Read(p)
	if n > s.left {
		return s.left, fmt.Errorf("%w: it has over %d bytes", errAnswer, maxAnswer)
	}
	s.left -= n
	return n, err
}

// Close closes the body.
func (s *short) Close() error { return s.body.Close() }
