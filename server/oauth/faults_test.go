package oauth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/oauth"
)

func TestBadInput(t *testing.T) {
	const ok, form = "", "application/x-www-form-urlencoded"
	grant := "grant_type=" + server.GrantTokenExchange
	for name, c := range map[string]struct {
		body, media string
		status      int
		code        string
	}{
		"nothing":                     {"", form, 400, "invalid_request"},
		"only separators":             {"&&&", form, 400, "invalid_request"},
		"no media type":               {with(), ok, 415, "invalid_request"},
		"JSON":                        {`{"grant_type":"x"}`, "application/json", 415, "invalid_request"},
		"text":                        {with(), "text/plain", 415, "invalid_request"},
		"another charset":             {with(), form + "; charset=utf-16", 415, "invalid_request"},
		"a boundary":                  {with(), form + "; boundary=x", 415, "invalid_request"},
		"a bad escape in a value":     {with() + "&reason=%zz", form, 400, "invalid_request"},
		"half an escape":              {with() + "&reason=%4", form, 400, "invalid_request"},
		"a bad escape in a name":      {with() + "&%zz=1", form, 400, "invalid_request"},
		"a semicolon":                 {with() + "&a=b;c=d", form, 400, "invalid_request"},
		"NUL":                         {with("reason", "a\x00b"), form, 400, "invalid_request"},
		"a raw NUL":                   {with() + "&reason=a\x00b", form, 400, "invalid_request"},
		"NUL in a name":               {with() + "&a%00b=c", form, 400, "invalid_request"},
		"a line break":                {with("reason", "a\nb"), form, 400, "invalid_request"},
		"DEL":                         {with("reason", "a\x7fb"), form, 400, "invalid_request"},
		"Latin-1":                     {with("reason", "caf\xe9"), form, 400, "invalid_request"},
		"an overlong encoding":        {with("reason", "\xc0\xaf"), form, 400, "invalid_request"},
		"a surrogate":                 {with("reason", "\xed\xa0\x80"), form, 400, "invalid_request"},
		"a long reason":               {with("reason", strings.Repeat("a", 513)), form, 400, "invalid_request"},
		"too many parameters":         {with() + strings.Repeat("&resource=https://a.example", 64), form, 400, "invalid_request"},
		"subject type no URI":         {with("subject_token_type", "jwt"), form, 400, "invalid_request"},
		"subject type too long":       {with("subject_token_type", "urn:"+strings.Repeat("a", 260)), form, 400, "invalid_request"},
		"lifetime zero":               {with("requested_lifetime", "0"), form, 400, "invalid_request"},
		"lifetime negative":           {with("requested_lifetime", "-60"), form, 400, "invalid_request"},
		"lifetime with a sign":        {with("requested_lifetime", "+60"), form, 400, "invalid_request"},
		"lifetime with a zero":        {with("requested_lifetime", "060"), form, 400, "invalid_request"},
		"lifetime a fraction":         {with("requested_lifetime", "60.5"), form, 400, "invalid_request"},
		"lifetime a duration":         {with("requested_lifetime", "10m"), form, 400, "invalid_request"},
		"lifetime with underscores":   {with("requested_lifetime", "1_0"), form, 400, "invalid_request"},
		"lifetime of Arabic digits":   {with("requested_lifetime", "٦٠"), form, 400, "invalid_request"},
		"lifetime past a year":        {with("requested_lifetime", "31622401"), form, 400, "invalid_request"},
		"lifetime past counting":      {with("requested_lifetime", strings.Repeat("9", 40)), form, 400, "invalid_request"},
		"other case":                  {"Grant_Type=" + server.GrantTokenExchange, form, 400, "invalid_request"},
		"subject token in other case": {grant + "&SUBJECT_TOKEN=" + subject + "&subject_token_type=" + jwtType, form, 400, "invalid_request"},
		"JSON member in an array":     {grant + "&subject_token[]=" + subject + "&subject_token_type=" + jwtType, form, 400, "invalid_request"},
		"64 kB and one":               {with("subject_token", strings.Repeat(".", 65536)), form, 413, "invalid_request"},
		"a megabyte of dots":          {with("subject_token", strings.Repeat(".", 1<<20)), form, 413, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			headers := []string{"Content-Type", c.media}
			d.send(c.body, headers...).wantFailure(t, c.status, c.code)
			d.bureau.none()
			if len(d.refused) != 1 {
				t.Errorf("counted %v", d.refused)
			}
		})
	}
}

func TestGoodInputOfAnotherMake(t *testing.T) {
	for name, media := range map[string]string{
		"a charset": "application/x-www-form-urlencoded;charset=UTF-8", "a quoted charset": `application/x-www-form-urlencoded; charset="utf-8"`,
		"capitals": "Application/X-WWW-Form-Urlencoded", "a dangling semicolon": "application/x-www-form-urlencoded; ",
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			d.send(with(), "Content-Type", media).wantIssued(t)
		})
	}
	d := openDoor(t)
	d.send("&&" + strings.ReplaceAll(with("reason", "a b"), "+", "%20") + "&").wantIssued(t)
	if got := d.bureau.only().Reason; got != "a b" {
		t.Errorf("%q", got)
	}
}

func TestMultipartIsRefused(t *testing.T) {
	d := openDoor(t)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range map[string]string{"grant_type": server.GrantTokenExchange, "subject_token": subject, "subject_token_type": jwtType} {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.send(body.String(), "Content-Type", w.FormDataContentType()).wantFailure(t, http.StatusUnsupportedMediaType, "invalid_request")
	d.bureau.none()
}

func TestCompressedBodiesAreRefused(t *testing.T) {
	d := openDoor(t)
	d.send(with(), "Content-Encoding", "gzip").wantFailure(t, http.StatusUnsupportedMediaType, "invalid_request")
	d.bureau.none()
}

func TestTwoContentTypesAreRefused(t *testing.T) {
	d := openDoor(t)
	r, err := http.NewRequest(http.MethodPost, d.url+"/oauth2/token", strings.NewReader(with()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x"}
	d.do(r).wantFailure(t, http.StatusUnsupportedMediaType, "invalid_request")
	d.bureau.none()
}

// A token in the URL would be in every log on the way.
func TestParametersInTheURLAreRefused(t *testing.T) {
	for _, query := range []string{"?" + with(), "?subject_token=" + subject, "?client_id=x", "?scope=wide"} {
		d := openDoor(t)
		r, err := http.NewRequest(http.MethodPost, d.url+"/oauth2/token"+query, strings.NewReader(with()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		d.do(r).wantFailure(t, http.StatusBadRequest, "invalid_request")
		d.bureau.none()
	}
}

// A body of unannounced length is bounded all the same.
func TestABodyWithoutALengthIsBounded(t *testing.T) {
	d := openDoor(t, func(o *oauth.Options) { o.MaxBytes = 1024 })
	for size, status := range map[int]int{100: http.StatusBadRequest, 1025: http.StatusRequestEntityTooLarge, 1 << 20: http.StatusRequestEntityTooLarge} {
		r, err := http.NewRequest(http.MethodPost, d.url+"/oauth2/token", io.LimitReader(neverEnding('a'), int64(size)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		d.do(r).wantFailure(t, status, "invalid_request")
	}
	d.bureau.none()
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// A caller who hangs up in mid-body begins nothing.
func TestACutBodyBeginsNothing(t *testing.T) {
	d := openDoor(t)
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	head := "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2000\r\n\r\n"
	if _, err := io.WriteString(c, head+with()); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	d.bureau.none()
}

func TestAHugeHeaderIsRefused(t *testing.T) {
	d := openDoor(t)
	r, err := http.NewRequest(http.MethodPost, d.url+"/oauth2/token", strings.NewReader(with()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Filler", strings.Repeat("a", 2<<20))
	response, err := d.client.Do(r)
	if err == nil {
		defer response.Body.Close()
		if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %d", response.StatusCode)
		}
	} // else the connection was cut while the header was still coming
	d.bureau.none()
}

// spki is a fresh P-256 public key as the parameter wants it.
func spki(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der(t, key.Public()))
}

func der(t testing.TB, public any) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPublicKeys(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	eight, err := x509.MarshalPKCS8PrivateKey(long)
	if err != nil {
		t.Fatal(err)
	}
	sec, err := x509.MarshalECPrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	std := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"RSA 2048": std(der(t, long.Public())), "P-384": std(der(t, curve.Public())), "Ed25519": std(der(t, edwards)),
		"unpadded": base64.RawStdEncoding.EncodeToString(der(t, curve.Public())), "the URL alphabet": base64.URLEncoding.EncodeToString(der(t, long.Public())),
	} {
		d := openDoor(t)
		d.ask("public_key", text).wantIssued(t)
		if _, err := x509.ParsePKIXPublicKey(d.bureau.only().PublicKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		text    string
		private bool
	}{
		"PKCS #8":            {std(eight), true},
		"PKCS #1":            {std(x509.MarshalPKCS1PrivateKey(long)), true},
		"SEC 1":              {std(sec), true},
		"a PEM private key":  {string(bytes.ReplaceAll(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: eight}), []byte("\n"), nil)), true},
		"RSA 1024":           {std(der(t, short.Public())), false},
		"PKCS #1 public":     {std(x509.MarshalPKCS1PublicKey(&long.PublicKey)), false},
		"trailing bytes":     {std(append(der(t, curve.Public()), 0)), false},
		"no base64":          {"not base64!", false},
		"loose bits":         {std(der(t, curve.Public())[:40])[:53] + "B==", false},
		"plus become spaces": {strings.ReplaceAll(std(bytes.Repeat([]byte{0xfb}, 99)), "+", " "), false},
		"too long":           {strings.Repeat("A", 4097), false},
		"noise":              {std([]byte("a rose is a rose")), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			a := d.ask("public_key", c.text)
			a.wantFailure(t, http.StatusBadRequest, "invalid_request")
			if strings.Contains(a.text, "private key") != c.private {
				t.Errorf("got %s", a.text)
			}
			d.bureau.none()
		})
	}
}

func TestRejectedSHA256(t *testing.T) {
	good := "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
	openDoor(t).ask("rejected_sha256", good).wantIssued(t)
	for name, text := range map[string]string{
		"hex": strings.Repeat("2c", 32), "padded": good + "=", "short": good[:42], "long": good + "A", "loose bits": good[:42] + "R",
		"the other alphabet": strings.ReplaceAll(good, "-", "+"), "a token": "eyJhbGciOiJub25lIn0.e30.",
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			a := d.ask("rejected_sha256", text)
			a.wantFailure(t, http.StatusBadRequest, "invalid_request")
			if !strings.Contains(a.text, "rejected_sha256") {
				t.Errorf("got %s", a.text)
			}
			d.bureau.none()
		})
	}
}
