package config

// Outline is what a cambio.yaml says to a policy: enough to check one without the
// secrets and the database at hand.
type Outline struct {
	Issuer        string
	TargetSecrets []string
}

// OwnIssuers are the names that no trust may have (S7).
func (o Outline) OwnIssuers() []string { return OwnIssuers(o.Issuer) }

// OwnIssuers are the two issuers of a service that is named by issuer.
func OwnIssuers(issuer string) []string {
	if issuer == "" {
		return nil
	}
	return []string{issuer, issuer + "/federation"}
}

// Peek reads the outline. It fetches no secret, and finds those faults only that
// keep the file from being read.
func Peek(file string, environ []string) (Outline, error) {
	source, err := readBounded(file, maxFile+1)
	if err != nil {
		return Outline{}, Faults{{File: file, Message: "cannot be read: " + reason(err)}}
	}
	c, r := gather(file, source, variablesOf(environ))
	r.excerpts()
	if len(r.faults) > 0 {
		return Outline{}, r.faults
	}
	return Outline{Issuer: c.Issuer, TargetSecrets: c.TargetSecrets()}, nil
}
