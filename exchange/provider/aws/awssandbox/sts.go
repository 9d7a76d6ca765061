package awssandbox

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// answer is the result of any action; what an action does not say is left out.
type answer struct {
	User        *assumedUser `xml:"AssumedRoleUser"`
	Credentials *credentials
	Audience    string `xml:",omitempty"`
	Provider    string `xml:",omitempty"`
	Subject     string `xml:"SubjectFromWebIdentityToken,omitempty"`
	Identity    string `xml:"SourceIdentity,omitempty"`
	PackedSize  int    `xml:"PackedPolicySize,omitempty"`
	ARN         string `xml:"Arn,omitempty"`
	UserID      string `xml:"UserId,omitempty"`
	Account     string `xml:",omitempty"`
}

type assumedUser struct {
	ID  string `xml:"AssumedRoleId"`
	ARN string `xml:"Arn"`
}

type credentials struct {
	ID         string `xml:"AccessKeyId"`
	Secret     string `xml:"SecretAccessKey"`
	Token      string `xml:"SessionToken"`
	Expiration string `xml:",omitempty"`
}

// serveSTS is the query API of STS.
func (s *Server) serveSTS(rw http.ResponseWriter, r *http.Request) {
	action, out, refused := s.ask(r)
	if refused != nil {
		s.refuseSTS(rw, refused)
		return
	}
	rw.Header().Set("Content-Type", "text/xml")
	e := xml.NewEncoder(rw)
	whole := xml.StartElement{Name: xml.Name{Local: action + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: stsNamespace}}}
	_ = e.EncodeToken(whole)
	_ = e.EncodeElement(out, xml.StartElement{Name: xml.Name{Local: action + "Result"}})
	_ = e.EncodeElement(metadata{s.requestID()}, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}})
	_ = e.EncodeToken(whole.End())
	_ = e.Flush()
}

type metadata struct {
	ID string `xml:"RequestId"`
}

func (s *Server) requestID() string {
	id, _ := s.text(10)
	return strings.ToLower(id)
}

// refuseSTS writes the error of the query API.
func (s *Server) refuseSTS(rw http.ResponseWriter, refused *refusal) {
	kind := "Sender"
	if refused.status >= 500 {
		kind = "Receiver"
	}
	rw.Header().Set("Content-Type", "text/xml")
	rw.WriteHeader(refused.status)
	_ = xml.NewEncoder(rw).Encode(struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		NS      string   `xml:"xmlns,attr"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
		ID      string   `xml:"RequestId"`
	}{NS: stsNamespace, Type: kind, Code: refused.code, Message: refused.message, ID: s.requestID()})
}

// ask reads and answers one request.
func (s *Server) ask(r *http.Request) (string, *answer, *refusal) {
	if r.URL.Path != "/" || r.Method != http.MethodPost && r.Method != http.MethodGet {
		return "", nil, refuse(http.StatusNotFound, "InvalidAction", "Could not find operation at %s %s", r.Method, r.URL.Path)
	}
	body, ok := readBody(r)
	if !ok {
		return "", nil, refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is too large")
	}
	form, err := url.ParseQuery(string(body))
	if r.Method == http.MethodGet {
		form, err = url.ParseQuery(r.URL.RawQuery)
	}
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "MalformedQueryString", "The query string is malformed")
	}
	if s.Weather.Mood() == sandbox.Throttling {
		return "", nil, refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	action := form.Get("Action")
	if form.Get("Version") != stsVersion {
		return "", nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", action, form.Get("Version"))
	}
	if s.Weather.Mood() == sandbox.Refusing {
		return "", nil, refuse(http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:%s", action)
	}
	var out *answer
	var refused *refusal
	switch action {
	case "AssumeRoleWithWebIdentity":
		out, refused = s.assumeWithWebIdentity(form)
	case "AssumeRole":
		out, refused = s.assumeRole(r, body, form)
	case "GetCallerIdentity":
		out, refused = s.callerIdentity(r, body)
	default:
		refused = refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", action, stsVersion)
	}
	return action, s.weathered(out), refused
}

// weathered is an answer as a lying STS would give it.
func (s *Server) weathered(out *answer) *answer {
	if out == nil || out.Credentials == nil {
		return out
	}
	switch s.Weather.Mood() {
	case sandbox.WithoutExpiry:
		out.Credentials.Expiration = ""
	case sandbox.PastExpiry:
		out.Credentials.Expiration = s.now().Add(-time.Hour).UTC().Format(time.RFC3339)
	}
	return out
}

func (s *Server) callerIdentity(r *http.Request, body []byte) (*answer, *refusal) {
	who, refused := s.authenticate(r, body, "sts")
	if refused != nil {
		return nil, refused
	}
	return &answer{ARN: who.arn, UserID: who.userID, Account: s.account}, nil
}

// granted is the answer to either way of assuming a role.
func (s *Server) granted(r *role, a asked, of Session, policies []*policy) (*answer, *refusal) {
	id, i, err := s.open(r, a, of, policies)
	if err != nil {
		return nil, refuse(http.StatusInternalServerError, "InternalFailure", "The request processing has failed")
	}
	return &answer{
		User:        &assumedUser{ID: i.userID, ARN: i.arn},
		Credentials: &credentials{ID: id, Secret: i.secret, Token: i.token, Expiration: i.expires.Format(time.RFC3339)},
		Identity:    of.SourceIdentity, PackedSize: a.packed,
	}, nil
}
