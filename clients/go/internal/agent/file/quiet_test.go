package file

import (
	"errors"
	"strings"
	"testing"
)

// Whatever an error of text/template quotes, a credential is not in it.
func TestDiscreet(t *testing.T) {
	secrets := []string{"", "vended-secret-1"}
	for text, want := range map[string]string{
		`template: t:1:2: executing "t" at <x>: bad "vended-secret-1"`:           "template: t:1:2: what is done with a credential there fails",
		`template: t:1:2: executing "t" at <x>: range can't iterate over vended`: `template: t:1:2: executing "t" at <x>: range can't iterate over a text`,
		`template: t:1:2: executing "t" at <x>: no field`:                        `template: t:1:2: executing "t" at <x>: no field`,
	} {
		if got := discreet(errors.New(text), secrets); got.Error() != want {
			t.Errorf("%v", got)
		}
	}
}

// Of long output whole lines are kept, so that no half of a secret is.
func TestHeadKeepsWholeLines(t *testing.T) {
	var h head
	line := strings.Repeat("a", 1000) + "\n"
	for range 100 {
		if n, err := h.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if text := string(h.text()); len(text) > maxOutput || text != strings.Repeat(line, len(text)/len(line)) || text == "" {
		t.Errorf("%d bytes", len(text))
	}
	var long head
	_, _ = long.Write(make([]byte, maxOutput+1))
	if len(long.text()) != 0 {
		t.Error("half a line is kept")
	}
	if got := mask([]byte(strings.Repeat("é", shown)), nil); len(got) > shown+len("…") || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes, %q at the end", len(got), got[len(got)-8:])
	}
}
