package cambio_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// A server that is broken, or means ill, says what it was sent; no error repeats it.
func TestErrorsDoNotRepeatWhatWasSent(t *testing.T) {
	secret := func() (cambio.Secret, error) { return cambio.NewSecret("client-secret-of-this-test/+"), nil }
	for name, answer := range map[string]func(body, basic string) string{
		"a description": func(body, _ string) string {
			text := fmt.Sprintf(`{"error":"invalid_request","error_description":%q,"exchange_id":%q}`, body, body)
			return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		},
		"a code": func(body, basic string) string {
			text := fmt.Sprintf(`{"error":%q}`, body+basic)
			return fmt.Sprintf("HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		},
		"no HTTP":       func(body, basic string) string { return body + basic + "\r\n\r\n" },
		"half a header": func(body, basic string) string { return "HTTP/1.1 200 OK\r\n" + body + basic + "\r\n\r\n" },
		"a status":      func(body, basic string) string { return "HTTP/1.1 " + body + basic + "\r\n\r\n" },
		"a length": func(body, basic string) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: " + body + basic + "\r\n\r\n"
		},
		"an encoding": func(body, basic string) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + body + basic + "\r\n\r\n"
		},
		"no credential": func(string, string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" },
		"another server": func(string, string) string {
			return "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						req, err := http.ReadRequest(bufio.NewReader(c))
						if err != nil || req.ParseForm() != nil {
							return
						}
						_, password, _ := req.BasicAuth()
						_, _ = fmt.Fprint(c, answer(req.PostForm.Get("subject_token"), password+" "+req.Header.Get("Authorization")))
					}()
				}
			}()
			client, err := cambio.New("http://"+l.Addr().String(), workload(), cambio.WithClientSecret("registered", secret))
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.NewTokenSource(cambio.Request{Audience: "x"}).Credential(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for _, said := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
				for _, never := range []string{"eyJ", "client-secret-of", "cmVnaXN0ZXJlZD"} { // the last is the base64 of "registered:…"
					if strings.Contains(said, never) {
						t.Errorf("it says %q", never)
					}
				}
			}
		})
	}
}
