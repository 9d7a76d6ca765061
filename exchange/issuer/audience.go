package issuer

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// vendor is a cloud whose trust names one fixed audience for all its customers. An
// assertion with it opens any account that trusts us, so it goes to the vendor's
// own token endpoints alone (S2).
type vendor struct {
	name      string
	audiences []string // lower case
	hosts     *regexp.Regexp
}

// awsRegion is a region's name, and no service's: a bucket called "sts" would
// answer at sts.s3.amazonaws.com.
const awsRegion = `[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}`

var vendors = []*vendor{
	{
		// AWS General Reference, "AWS STS endpoints and quotas".
		name:      "AWS",
		audiences: []string{"sts.amazonaws.com", "sts.amazonaws.com.cn"},
		hosts: regexp.MustCompile(`^(?:sts\.amazonaws\.com|sts(-fips)?\.` + awsRegion + `\.amazonaws\.(com(\.cn)?|eu)|sts(-fips)?\.` +
			awsRegion + `\.api\.aws)$`),
	},
	{
		// Microsoft Entra, "Workload identity federation", and its national clouds.
		name:      "Azure",
		audiences: []string{"api://azureadtokenexchange", "api://azureadtokenexchangeusgov", "api://azureadtokenexchangechina"},
		hosts:     regexp.MustCompile(`^(?:login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|login\.chinacloudapi\.cn)$`),
	},
}

// vendorOf is the cloud whose fixed audience this is; nil: none. It is generous: a
// cloud may fold case, or overlook a scheme or a slash.
func vendorOf(audience string) *vendor {
	folded := strings.TrimRight(strings.ToLower(strings.TrimSpace(audience)), "/")
	for _, v := range vendors {
		for _, fixed := range v.audiences {
			if folded == fixed || strings.TrimPrefix(folded, "https://") == fixed {
				return v
			}
		}
	}
	return nil
}

// checkAudience holds a vendor's audience to that vendor's hosts, or to hosts that
// the operator named as its stand-in.
func (i *Issuer) checkAudience(audience, endpoint string) error {
	if audience == "" {
		return errors.New("minting an assertion: it names no audience")
	}
	v := vendorOf(audience)
	if v == nil {
		return nil
	}
	host := strings.ToLower(endpoint)
	if v.hosts.MatchString(host) || i.standIns[host] {
		return nil
	}
	return exchange.Fault(exchange.KindMisconfigured, "the target's audience does not fit its endpoint: ask its operator",
		fmt.Errorf("the audience %q is for %s's own endpoints, and %q is none: give the target an audience of its own, or name the host as a stand-in",
			audience, v.name, endpoint))
}
