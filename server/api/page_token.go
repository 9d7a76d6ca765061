package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/server"
)

// pageTokens makes page tokens: the cursor, and a MAC of it with the tenant and
// the filter, so that a token opens only the list it came from. The cursor is an
// exchange's id, which the page has shown already: it needs no hiding.
type pageTokens struct{ key []byte }

// pageTokenVersion begins each token; another one is one that we do not know.
const pageTokenVersion = 1

// maxPageToken bounds what is decoded, in bytes of base64.
const maxPageToken = 256

var errPageToken = server.Invalid("page_token is not one of this list: send the next_page_token of the page before, with the same filter, or nothing to begin anew")

func (p pageTokens) seal(cursor ledger.Cursor, tenant, filter string) string {
	token := append([]byte{pageTokenVersion}, p.mac(cursor, tenant, filter)...)
	return base64.RawURLEncoding.EncodeToString(append(token, cursor...))
}

func (p pageTokens) open(token, tenant, filter string) (ledger.Cursor, error) {
	if len(token) > maxPageToken {
		return "", errPageToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(b)) != len(token) || // the decoder passes over line ends
		len(b) <= 1+sha256.Size || b[0] != pageTokenVersion {
		return "", errPageToken
	}
	mac, cursor := b[1:1+sha256.Size], ledger.Cursor(b[1+sha256.Size:])
	if !hmac.Equal(mac, p.mac(cursor, tenant, filter)) {
		return "", errPageToken
	}
	return cursor, nil
}

// mac covers each part with its length before it, so that no two lists of parts
// read the same.
func (p pageTokens) mac(cursor ledger.Cursor, tenant, filter string) []byte {
	h := hmac.New(sha256.New, p.key)
	for _, part := range []string{"cambio.v1 exchanges page", tenant, filter, string(cursor)} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}
