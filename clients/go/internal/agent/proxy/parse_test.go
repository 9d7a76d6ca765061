package proxy

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

func TestPatterns(t *testing.T) {
	for _, one := range []struct {
		pattern    string
		match, not []string
	}{
		{"/", []string{"", "/"}, []string{"/a"}},
		{"/**", []string{"/a", "/a/b", "/"}, []string{""}},
		{"/v1/**", []string{"/v1/a", "/v1/a/b/", "/v1/"}, []string{"/v1", "/v2/a", "/v1a"}},
		{"/v1/*", []string{"/v1/a"}, []string{"/v1", "/v1/", "/v1/a/b"}},
		{"/v1/models", []string{"/v1/models", "/v1/%6dodels"}, []string{"/v1/models/", "/v1/Models", "/v1/model"}},
		{"/m/*:generate*", []string{"/m/g:generateContent", "/m/:generate", "/m/a%3Agenerate"}, []string{"/m/gen", "/m/g:count"}},
		{"/a*b*c", []string{"/abc", "/aXbYc", "/abbcc"}, []string{"/ac", "/acb", "/abcx"}},
		{"/a*a", []string{"/aa", "/aba"}, []string{"/a"}},
		{"/x/*/y", []string{"/x/1/y", "/x/a%2Fb/y"}, []string{"/x//y", "/x/a/b/y"}},
	} {
		p, err := parsePattern(one.pattern)
		if err != nil {
			t.Fatal(err)
		}
		matches := func(text string) bool {
			if text == "" {
				return p.match(nil)
			}
			read, err := readPath(text, true)
			return err == nil && p.match(read.said)
		}
		for _, text := range one.match {
			if !matches(text) {
				t.Errorf("%s does not match %q", one.pattern, text)
			}
		}
		for _, text := range one.not {
			if matches(text) {
				t.Errorf("%s matches %q", one.pattern, text)
			}
		}
	}
	for _, text := range []string{"", "v1", "/v1//a", "/**/a", "/a**", "/a/..", "/a%2f", "/a?b", "/a;b", `/a\b`} {
		if _, err := parsePattern(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// FuzzPath: what is let through means the same however often, and by whom, it is decoded
// and cleaned, and it is sent as it came.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		"/v1/models", "/v1/%2e%2e/x", "/v1/a%2Fb", "/v1/%252e", "//x", "/v1/..;/x", "/v1/a:b", "/v1/%zz", "/v1/", "/v1/%E4", `/v1/\..`, "/v1/%25%32%65", "/v1/%25000000",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	listed, err := parsePattern("/v1/**")
	if err != nil {
		f.Fatal(err)
	}
	upstream, _ := url.Parse("https://host")
	f.Fuzz(func(t *testing.T, sent string, slash bool) {
		p, err := readPath(sent, slash)
		if err != nil {
			return
		}
		if p.text() != sent {
			t.Fatalf("%q is sent as %q", sent, p.text())
		}
		if !listed.match(p.said) {
			return
		}
		for text, n := sent, 0; n < 4; n++ {
			if cleaned := path.Clean(text); cleaned != strings.TrimRight(text, "/") || !strings.HasPrefix(cleaned+"/", "/v1/") && n > 0 {
				t.Fatalf("%q decoded %d times is cleaned to %q", sent, n, cleaned)
			}
			if strings.ContainsAny(text, "\\\r\n\x00") {
				t.Fatalf("%q decoded %d times is %q", sent, n, text)
			}
			next, err := url.PathUnescape(text)
			if err != nil {
				break
			}
			text = next
		}
		in, err := url.ParseRequestURI(sent)
		if err != nil || in.EscapedPath() != sent {
			return // refused before
		}
		u := (&route{upstream: upstream}).below(p, "")
		if u.EscapedPath() != sent || u.Host != "host" || u.String() != "https://host"+sent {
			t.Fatalf("%q goes to %q", sent, u)
		}
	})
}

// FuzzCookies: what is passed on is of the list, once, and everybody reads it alike.
func FuzzCookies(f *testing.F) {
	for _, seed := range []string{"sid=a", "sid=a; b=c", `sid="a;b=c"`, "a=sid=b", "sid=a\r\nX: y", ";;sid = a", "sid", "\tsid=a;sid=b"} {
		f.Add(seed, "sid=b")
	}
	allowed := []string{"sid", "b"}
	f.Fuzz(func(t *testing.T, one, two string) {
		found, err := allowedCookies([]string{one, two}, allowed)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 100 {
				t.Fatal("an error that quotes")
			}
			return
		}
		line := header(found)
		again, err := allowedCookies([]string{line}, allowed)
		if err != nil || !slices.EqualFunc(again, found, func(a, b cookie) bool { return a.name == b.name && a.value.Equal(b.value) }) {
			t.Fatalf("%q is not read as it was: %v", line, err)
		}
		if line == "" {
			return
		}
		parsed, err := http.ParseCookie(line)
		if err != nil || len(parsed) != len(found) {
			t.Fatalf("net/http reads %d of %d: %v", len(parsed), len(found), err)
		}
		for i, c := range parsed {
			if c.Name != found[i].name || c.Value != strings.Trim(found[i].value.Reveal(), `"`) || !slices.Contains(allowed, c.Name) {
				t.Fatalf("net/http reads %q", c.Name)
			}
		}
	})
}

// FuzzLocation: wherever an answer points, the caller stays below the prefix.
func FuzzLocation(f *testing.F) {
	for _, seed := range []string{"/base/x", "//evil/base/x", "https://host/base/x?y#z", "..//x", `\\evil`, "/base/../x", "https:/x", "?a", "https://host:443/base", "/base%2f..", "/baseball"} {
		f.Add(seed)
	}
	upstream, _ := url.Parse("https://host/base")
	f.Fuzz(func(t *testing.T, location string) {
		for _, prefix := range [][]string{nil, {"openai"}} {
			r := &route{upstream: upstream, base: "/base", prefix: prefix}
			from, _ := url.Parse("https://host/base/v1/x")
			resp := &http.Response{StatusCode: 307, Header: http.Header{"Location": {location}}, Request: &http.Request{URL: from}}
			if r.relocate(resp) != nil || location == "" {
				return
			}
			got := resp.Header.Get("Location")
			to, err := url.Parse("http://127.0.0.1:1/openai/v1/x")
			if err != nil {
				t.Fatal(err)
			}
			if to, err = to.Parse(got); err != nil || to.Host != "127.0.0.1:1" || !strings.HasPrefix(got, "/") || !strings.HasPrefix(got, r.prefixText()) {
				t.Fatalf("%q leads to %q: %v", location, got, err)
			}
		}
	})
}

// FuzzSecret: only who knows it presents it.
func FuzzSecret(f *testing.F) {
	secret := cambio.NewSecret(strings.Repeat("5a", 32))
	f.Add("Bearer "+secret.Reveal(), "")
	f.Add("AWS4-HMAC-SHA256 Credential="+secret.Reveal()+"/20300101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0", "x")
	f.Add("Basic x", secret.Reveal()[1:])
	f.Fuzz(func(t *testing.T, authorization, key string) {
		req := &http.Request{Header: http.Header{"Authorization": {authorization}, "X-Api-Key": {key}}}
		if presents(req, secret) && !strings.Contains(authorization+"\n"+key, secret.Reveal()) {
			t.Fatal("presented without knowing it")
		}
		if presents(req, cambio.Secret{}) {
			t.Fatal("nothing is a secret")
		}
	})
}
