package api

import (
	"bytes"
	"encoding/base64"
	"testing"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

var testPages = pageTokens{key: bytes.Repeat([]byte{7}, 32)}

const testCursor = ledger.Cursor("0199a000-0000-7000-8000-000000000001")

// A token opens its own list and no other, wherever the bounds between tenant,
// filter and cursor are drawn.
func TestPageTokenOpensOneList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-c]{0,4}`)
		cursor := ledger.Cursor(rapid.StringMatching(`[a-c]{1,4}`).Draw(t, "cursor"))
		tenant, filter := text.Draw(t, "tenant"), text.Draw(t, "filter")
		token := testPages.seal(cursor, tenant, filter)
		if got, err := testPages.open(token, tenant, filter); err != nil || got != cursor {
			t.Fatalf("got %q, %v", got, err)
		}
		other := pageTokens{key: bytes.Repeat([]byte{8}, 32)}
		if _, err := other.open(token, tenant, filter); err == nil {
			t.Fatal("another key opened it")
		}
		tenant2, filter2 := text.Draw(t, "other tenant"), text.Draw(t, "other filter")
		if tenant2 == tenant && filter2 == filter {
			return
		}
		if got, err := testPages.open(token, tenant2, filter2); err == nil {
			t.Fatalf("%q, %q opened it: %q", tenant2, filter2, got)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	f.Add(testPages.seal(testCursor, "default", ""), "default", "")
	f.Add(testPages.seal(testCursor, "default", "outcome=issued"), "default", "outcome=denied")
	f.Add(testPages.seal(testCursor, "default", "")[:70]+"\r\n"+testPages.seal(testCursor, "default", "")[70:], "default", "")
	f.Add("", "", "")
	f.Add("AQ", "default", "")
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 70)), "default", "")
	f.Fuzz(func(t *testing.T, token, tenant, filter string) {
		cursor, err := testPages.open(token, tenant, filter)
		if err != nil {
			if exchange.KindOf(err) != exchange.KindInvalidRequest || cursor != "" {
				t.Fatalf("got %q, %v", cursor, err)
			}
			return
		}
		if testPages.seal(cursor, tenant, filter) != token { // one list, one spelling
			t.Fatalf("%q opened and is not ours", token)
		}
	})
}
