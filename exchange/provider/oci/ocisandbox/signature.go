package ocisandbox

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far a request's date may be from now.
const maxSkew = 5 * time.Minute

var parameterForm = regexp.MustCompile(`^([A-Za-z]+)="([^"]*)"$`)

// signed verifies a request's signature and gives the claims of the session token
// that it was made under.
func (b *Sandbox) signed(r *http.Request, body []byte) (Claims, error) {
	parameters, err := parametersOf(r.Header.Values("Authorization"))
	if err != nil {
		return Claims{}, err
	}
	token, ok := strings.CutPrefix(parameters["keyId"], "ST$")
	if !ok {
		return Claims{}, errors.New("keyId is no session token's")
	}
	claims, key, err := b.open(token)
	if err != nil {
		return Claims{}, err
	}
	names := strings.Split(parameters["headers"], " ")
	if err := b.covered(r, body, names); err != nil {
		return Claims{}, err
	}
	lines := make([]string, len(names))
	for i, name := range names {
		switch name {
		case "(request-target)":
			lines[i] = name + ": " + strings.ToLower(r.Method) + " " + r.RequestURI
		case "host":
			lines[i] = name + ": " + r.Host
		case "content-length": // net/http takes it out of the header
			lines[i] = name + ": " + strconv.FormatInt(r.ContentLength, 10)
		default:
			values := r.Header.Values(name)
			if len(values) != 1 {
				return Claims{}, fmt.Errorf("the header %s is signed and came %d times", name, len(values))
			}
			lines[i] = name + ": " + values[0]
		}
	}
	signature, err := base64.StdEncoding.DecodeString(parameters["signature"])
	if err != nil {
		return Claims{}, errors.New("the signature is no base64")
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return Claims{}, errors.New("the signature does not verify")
	}
	return claims, nil
}

// parametersOf reads `Signature version="1",…`.
func parametersOf(headers []string) (map[string]string, error) {
	if len(headers) != 1 {
		return nil, errors.New("there is not one Authorization header")
	}
	rest, ok := strings.CutPrefix(headers[0], "Signature ")
	if !ok {
		return nil, errors.New("the Authorization header is no Signature")
	}
	parameters := map[string]string{}
	for _, text := range strings.Split(rest, ",") {
		m := parameterForm.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil || parameters[m[1]] != "" {
			return nil, errors.New("the Authorization header has a parameter that cannot be read")
		}
		parameters[m[1]] = m[2]
	}
	if parameters["version"] != "1" || parameters["algorithm"] != "rsa-sha256" {
		return nil, errors.New("the signature's version is not 1, or its algorithm not rsa-sha256")
	}
	return parameters, nil
}

// covered holds what a signature must cover, and that it tells the truth of date and
// body.
func (b *Sandbox) covered(r *http.Request, body []byte, names []string) error {
	needed := []string{"(request-target)", "host", "date"}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		if upload(r) && !slices.Contains(names, "x-content-sha256") {
			break // bodies of uploads need not be signed
		}
		needed = append(needed, "content-length", "content-type", "x-content-sha256")
		sum := sha256.Sum256(body)
		if r.Header.Get("X-Content-Sha256") != base64.StdEncoding.EncodeToString(sum[:]) {
			return errors.New("x-content-sha256 is not the body's")
		}
		if r.ContentLength != int64(len(body)) {
			return errors.New("content-length is not the body's")
		}
	}
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) || slices.Contains(names[:i], name) {
			return errors.New("headers lists a name twice, or not in lower case")
		}
	}
	for _, name := range needed {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%s is not signed", name)
		}
	}
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return errors.New("there is no date")
	}
	if skew := b.setup.World.Now().Sub(date); skew > maxSkew || skew < -maxSkew {
		return errors.New("the date is over 5 minutes away")
	}
	return nil
}

// upload reports whether the request is Object Storage's PutObject.
func upload(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/n/") && strings.Contains(r.URL.Path, "/o/")
}
