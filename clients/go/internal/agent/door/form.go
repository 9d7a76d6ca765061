package door

import (
	"io"
	"mime"
	"net/http"
	"net/url"
)

// readForm reads the form of a body, which the guard has taken in.
func readForm(r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: "invalid_request", text: "the body is a form (application/x-www-form-urlencoded)"}
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return parseForm(string(text))
}

// parseForm reads a form or a query in which each name stands once.
func parseForm(text string) (url.Values, error) {
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "the parameters are no form"}
	}
	for _, values := range form {
		if len(values) != 1 {
			return nil, &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "a parameter is given once"}
		}
	}
	return form, nil
}
