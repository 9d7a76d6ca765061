package api

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// FuzzBody holds that what is accepted survives a round trip, and that a fault
// quotes no value of the body.
func FuzzBody(f *testing.F) {
	const secret = "S3CRET"
	for _, seed := range []string{
		`{"subject_token":"S3CRET","subject_token_type":"urn:x:y","audience":["a"],"requested_lifetime":60}`,
		`{"subject_token":S3CRET}`, `{"requested_lifetime":"S3CRET"}`, `{"public_key":"S3CRET!"}`, `{"a":{"S3CRET":1}}`,
		`{"audience":"S3CRET"}`, `{"audience":[{"S3CRET":null}]}`, `{"subject_token":"\ud800S3CRET"}`, `{"reason":"S3CRET`,
		`{"subjectToken":"S3CRET","subject_token":"S3CRET"}`, `S3CRET`, `{"subject_token":"S3CRET"} S3CRET`, ``, `null`, `{}`,
		`{"audience":[null]}`, `{"subject_token":null}`, `{"requested_lifetime":1e1}`, "\ufeff{}",
	} {
		f.Add(seed)
	}
	codec := newJSON()
	f.Fuzz(func(t *testing.T, body string) {
		var in cambiov1.ExchangeRequest
		if err := codec.NewDecoder(strings.NewReader(body)).Decode(&in); err != nil {
			// A member's name is quoted where it is unknown; values never are.
			if strings.Contains(err.Error(), secret) && !strings.Contains(err.Error(), "unknown member") {
				t.Fatalf("the fault quotes the body: %v", err)
			}
			return
		}
		b, err := codec.Marshal(&in)
		if err != nil {
			t.Fatal(err)
		}
		var again cambiov1.ExchangeRequest
		if err := codec.NewDecoder(strings.NewReader(string(b))).Decode(&again); err != nil || !proto.Equal(&in, &again) {
			t.Fatalf("%s became %s: %v", body, b, err)
		}
	})
}
