package provider

import (
	"fmt"
	"regexp"

	"github.com/cambio-sts/cambio/exchange"
)

// subjectWord is the name in a `subject` setting that stands for the canonical
// subject; every other is an attribute's.
const subjectWord = "subject"

// maxSubjectNames bounds a `subject` setting: no cloud takes a `sub` in which more
// would fit.
const maxSubjectNames = 8

var attributeForm = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)

// CheckSubjectNames returns every fault of a `subject` setting: what follows
// <tenant>:<target> in an assertion's `sub`.
func CheckSubjectNames(names []string) []error {
	var faults []error
	if len(names) > maxSubjectNames {
		faults = append(faults, fmt.Errorf("subject: at most %d names", maxSubjectNames))
	}
	for i, name := range names {
		if !attributeForm.MatchString(name) {
			faults = append(faults, fmt.Errorf("subject[%d]: %q is neither %q nor an attribute's name", i, name, subjectWord))
		}
	}
	return faults
}

// SubjectValues are what the names of a `subject` setting stand for in this
// subject. An attribute that it has not, or has several of, is an error: `sub` would
// be somebody else's.
func SubjectValues(names []string, s *exchange.Subject) ([]string, error) {
	var values []string
	for _, name := range names {
		if name == subjectWord {
			values = append(values, s.Name)
			continue
		}
		has := s.Attributes[name]
		if len(has) != 1 || has[0] == "" {
			return nil, exchange.Fault(exchange.KindMisconfigured, "the target names an attribute that your token has not: ask its operator",
				fmt.Errorf("the setting subject names %q, of which %s has %d values: it needs exactly one", name, s.Name, len(has)))
		}
		values = append(values, has[0])
	}
	return values, nil
}
