package cambio

import (
	"errors"
	"net/url"

	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

// safeURL parses the URL of something that is sent secrets: https, or plain HTTP to
// this machine.
func safeURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("it is no URL: write https://host")
	case u.User != nil:
		return nil, errors.New("a URL has no user and no password here")
	case u.Fragment != "":
		return nil, errors.New("a URL has no fragment here")
	case !origin.Safe(u):
		return nil, errors.New("secrets go over https, or to this machine: write https://")
	}
	return u, nil
}
