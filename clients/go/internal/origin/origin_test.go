package origin_test

import (
	"net/url"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

func TestSafe(t *testing.T) {
	for text, want := range map[string]bool{
		"https://api.example": true, "http://localhost:1": true, "http://127.0.0.1": true, "http://127.9.9.9:1": true,
		"http://[::1]:1": true, "http://[::ffff:127.0.0.1]": true,
		"http://api.example": false, "http://localhost.": false, "http://localhost.evil.example": false,
		"http://127.0.0.1.evil.example": false, "http://2130706433": false, "http://0x7f.1": false, "http://0.0.0.0": false,
		"http://[::]": false, "http://169.254.169.254": false, "http://127.1": false, "ftp://localhost": false, "//localhost": false, "http://": false,
		"http://127.0.0.1@evil.example": false, "http://evil.example/?127.0.0.1": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := origin.Safe(u); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
