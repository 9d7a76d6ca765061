package cambio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Call posts to the server's REST face (docs/api.md) and reads its answer, both JSON.
// path begins with "/v1/"; bearer is who asks, nil: the client's identity. Nothing is
// asked twice: what a call does is for the caller to know. The error is an *Error, or
// that of ctx.
func (c *Client) Call(ctx context.Context, bearer Identity, path string, in, out any) error {
	if !strings.HasPrefix(path, "/v1/") {
		return errors.New("cambio: calls are to paths below /v1/")
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if bearer == nil {
		bearer = c.identity
	}
	token, err := ask(ctx, bearer)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("cambio: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("cambio: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Value.Reveal())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	text, err := c.send(ctx, req, secretsOf(req))
	switch {
	case err != nil:
		return err
	case len(text) > maxAnswer || json.Unmarshal(text, out) != nil:
		return &Error{Code: CodeBadAnswer, Status: http.StatusOK, Description: "the answer of " + c.origin + " cannot be read: is it a Cambio server of this age?"}
	}
	return nil
}
