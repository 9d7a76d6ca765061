package awssandbox_test

import (
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
)

// assume is a session of the role.
func assume(t *testing.T, s *awssandbox.Server) aws.Credentials {
	t.Helper()
	form := url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::123456789012:role/llm"}, "RoleSessionName": {"me"}, "Version": {"2011-06-15"}}
	r := request(t, form)
	sign(t, r, sum(form.Encode()), nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var answer struct {
		Keys struct{ AccessKeyId, SecretAccessKey, SessionToken string } `xml:"AssumeRoleResult>Credentials"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %v", w.Code, err)
	}
	return aws.Credentials{AccessKeyID: answer.Keys.AccessKeyId, SecretAccessKey: answer.Keys.SecretAccessKey, SessionToken: answer.Keys.SessionToken}
}

// TestConversationsStream: the words of the answer, in messages whose checksums hold.
func TestConversationsStream(t *testing.T) {
	const body = `{"messages":[{"role":"user","content":[{"text":"Who am I?"}]}]}`
	s := newServer(t)
	session := assume(t, s)
	r := httptest.NewRequest(http.MethodPost, "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse-stream", strings.NewReader(body))
	sign(t, r, sum(body), func(keys *aws.Credentials, service, _ *string, _ *time.Time) { *keys, *service = session, "bedrock" })
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/vnd.amazon.eventstream" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	text, ended := "", false
	for b := w.Body.Bytes(); len(b) > 0; {
		total, headers := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		message := b[:total]
		b = b[total:]
		if crc32.ChecksumIEEE(message[:8]) != binary.BigEndian.Uint32(message[8:]) ||
			crc32.ChecksumIEEE(message[:total-4]) != binary.BigEndian.Uint32(message[total-4:]) {
			t.Fatal("a checksum is wrong")
		}
		var part struct {
			Delta      struct{ Text string }
			StopReason string
		}
		if err := json.Unmarshal(message[12+headers:total-4], &part); err != nil {
			t.Fatal(err)
		}
		text += part.Delta.Text
		ended = ended || part.StopReason == "end_turn"
	}
	if text != "You are arn:aws:sts::123456789012:assumed-role/llm/me." || !ended {
		t.Errorf("%q", text)
	}
}
