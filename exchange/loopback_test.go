package exchange_test

import (
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

func TestLoopbackHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "128.0.0.1": false, "localhost.example": false, "127.0.0.1.example": false,
		"127.1": false, "0x7f000001": false, "[::1]": false, "10.0.0.1": false, "LOCALHOST": false,
	} {
		if got := exchange.LoopbackHost(host); got != want {
			t.Errorf("LoopbackHost(%q) = %v", host, got)
		}
	}
}
