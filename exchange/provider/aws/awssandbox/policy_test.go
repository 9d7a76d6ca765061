package awssandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
)

// TestPoliciesDecide as IAM's do: a deny wins, silence is no, and a condition that is
// not understood never helps.
func TestPoliciesDecide(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":` + s + `}` }
	for name, c := range map[string]struct {
		text string
		want effect
	}{
		"allows":              {`{"Effect":"Allow","Action":"bedrock:Invoke*","Resource":"*"}`, allow},
		"in any case":         {`{"Effect":"Allow","Action":"BEDROCK:invokemodel","Resource":"*"}`, allow},
		"another action":      {`{"Effect":"Allow","Action":"bedrock:List*","Resource":"*"}`, silent},
		"another resource":    {`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::*"}`, silent},
		"one letter":          {`{"Effect":"Allow","Action":"*","Resource":"model-?"}`, allow},
		"a deny":              {`[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"model-a"}]`, deny},
		"not action":          {`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, allow},
		"not resource":        {`{"Effect":"Allow","Action":"*","NotResource":"model-a"}`, silent},
		"equals":              {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/ns":["x","llm"]}}}`, allow},
		"not equals":          {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalTag/ns":"llm"}}}`, silent},
		"like":                {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"AWS:principaltag/NS":"l*m"}}}`, allow},
		"both conditions":     {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:PrincipalTag/ns":"l*m"},"StringEquals":{"a:b":"c"}}}`, silent},
		"a key that is not":   {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"c"}}}`, silent},
		"if it exists":        {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"a:b":"c"}}}`, allow},
		"all values":          {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b","c"]}}}`, allow},
		"not all values":      {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}}`, silent},
		"any value":           {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"a"}}}`, allow},
		"unknown, allowing":   {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`, silent},
		"unknown, denying":    {`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`, deny},
		"a deny that is void": {`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/ns":"x"}}}`, silent},
	} {
		p, err := readPolicy(statement(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f := facts{"aws:principaltag/ns": {"llm"}, "aws:tagkeys": {"a", "b"}}
		if got := p.decide("bedrock:InvokeModel", "model-a", nil, f); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(allOfBedrock, "bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/x")
	f.Add(WebIdentityTrust(DefaultAccount, "https://cambio.example/federation", DefaultAudience, "default:*", true), "sts:TagSession", "")
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":["*"],"Condition":{"ForAllValues:StringLike":{"a":"*?"}}}}`, "a", "b")
	f.Fuzz(func(t *testing.T, text, action, resource string) {
		p, err := readPolicy(text)
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q is taken", text)
		}
		p.decide(action, resource, []string{"x"}, facts{"a": {"b"}})
	})
}

func FuzzKey(f *testing.F) {
	f.Add("bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29tLz9BY3Rpb249Q2FsbFdpdGhCZWFyZXJUb2tlbiZWZXJzaW9uPTE=")
	f.Fuzz(func(t *testing.T, key string) {
		if _, query, ok := readKey(key); ok {
			for name, values := range query {
				if len(values) != 1 {
					t.Errorf("%q comes %d times", name, len(values))
				}
			}
		}
	})
}

// TestAuthorizationsAreRead strictly: each part once, the host among what is signed.
func TestAuthorizationsAreRead(t *testing.T) {
	digest := sha256.Sum256(nil)
	value := hex.EncodeToString(digest[:])
	for header, want := range map[string]bool{
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + value:          true,
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts/aws4_request,SignedHeaders=host,Signature=" + value:                       true,
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts/aws4_request, SignedHeaders=x-amz-date, Signature=" + value:               false,
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts/aws4_request, SignedHeaders=x-amz-date;host, Signature=" + value:          false,
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts, SignedHeaders=host, Signature=" + value:                                  false,
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts/aws4_request, SignedHeaders=host, Signature=":                             false,
		"AWS4-HMAC-SHA256 Credential=a/20261121/r/sts/aws4_request, SignedHeaders=host, SignedHeaders=host, Signature=" + value: false,
		"Basic eDp5": false,
		"":           false,
	} {
		if _, ok := readAuthorization(header); ok != want {
			t.Errorf("%q: %t", header, ok)
		}
	}
}
