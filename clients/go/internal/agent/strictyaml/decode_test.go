package strictyaml_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/strictyaml"
)

type door struct {
	Target  string        `yaml:"target"`
	Targets []string      `yaml:"targets"`
	Wait    time.Duration `yaml:"wait"`
}

type mode string

// UnmarshalYAML takes "on" and "off".
func (m *mode) UnmarshalYAML(unmarshal func(any) error) error {
	var word string
	if err := unmarshal(&word); err != nil || word != "on" && word != "off" {
		return errors.New("write on, or off")
	}
	*m = mode(word)
	return nil
}

type inner struct {
	Size int64 `yaml:"size"`
}

type settings struct {
	Name   string          `yaml:"name"`
	On     bool            `yaml:"on"`
	Count  uint8           `yaml:"count"`
	Ratio  float64         `yaml:"ratio"`
	Door   *door           `yaml:"door"`
	Doors  map[string]door `yaml:"doors"`
	List   []door          `yaml:"list"`
	Prefix netip.Prefix    `yaml:"prefix"`
	Mode   mode            `yaml:"mode"`
	Any    any             `yaml:"any"`
	Inner  inner           `yaml:",inline"`
	Hidden string          `yaml:"-"`
}

func TestDecode(t *testing.T) {
	var got settings
	d := strictyaml.Decode("f.yaml", []byte(`
name: "a: b"
on: true
count: 7
ratio: 0.5
door:
doors: {x: {target: t, wait: 90s}, 1: {}}
list:
- targets: [a, b]
prefix: 10.0.0.0/8
mode: on
any: {k: [1]}
size: 12
`), &got)
	if faults := d.Faults(); len(faults) != 0 {
		t.Fatal(faults)
	}
	want := settings{
		Name: "a: b", On: true, Count: 7, Ratio: 0.5, Door: &door{}, Doors: map[string]door{"x": {Target: "t", Wait: 90 * time.Second}, "1": {}},
		List: []door{{Targets: []string{"a", "b"}}}, Prefix: netip.MustParsePrefix("10.0.0.0/8"), Mode: "on", Any: got.Any, Inner: inner{Size: 12},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Any == nil || !d.Has("doors.x.target") || d.Has("doors.y") {
		t.Errorf("any %v, has %t %t", got.Any, d.Has("doors.x.target"), d.Has("doors.y"))
	}
}

func TestDecodeFaults(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // one for each fault, in the order of the file
	}{
		"misspelt":        {"nmae: x", []string{"f.yaml:1:1: nmae: no such key; did you mean name?"}},
		"far off":         {"door: {zebra: 1}", []string{"f.yaml:1:8: door.zebra: no such key; the keys here are target, targets, wait"}},
		"hidden":          {"Hidden: x", []string{"f.yaml:1:1: Hidden: no such key"}},
		"all at once":     {"nmae: x\non: yes\ndoors: {a: {wait: soon}, b: []}\nlist: {}\ncount: 256", []string{"1:1: nmae", `2:5: on: "yes" is neither`, `3:19: doors.a.wait: "soon" is no duration`, "3:29: doors.b: keys and values are expected here, not a list", "4:7: list: a list is expected here, not keys and values", `5:8: count: "256" is no whole number here`}},
		"twice":           {"name: a\nname: b", []string{"already defined"}},
		"two documents":   {"name: a\n---\nname: b", []string{"one document only"}},
		"anchor":          {"door: &a {target: t}", []string{"door: anchors, aliases"}},
		"merge":           {"door: {<<: {target: t}}", []string{"anchors, aliases"}},
		"tag":             {"name: !!str 1", []string{"name: anchors, aliases"}},
		"not a value":     {"name: [a]", []string{"f.yaml:1:7: name: one value is expected here, not a list"}},
		"not keys":        {"door: here", []string{"f.yaml:1:7: door: keys and values are expected here, not one value"}},
		"text of a type":  {"prefix: ten", []string{"f.yaml:1:9: prefix: "}},
		"own decoder":     {"mode: maybe", []string{"f.yaml:1:7: mode: write on, or off"}},
		"in a list":       {"list:\n- target: a\n- traget: b", []string{"f.yaml:3:3: list[1].traget: no such key; did you mean target?"}},
		"no YAML":         {"name: \"a", []string{"f.yaml:1:7: "}},
		"a list":          {"- a", []string{"keys and values are expected here"}},
		"NUL":             {"name: \"a\\0b\"", []string{"a text has no NUL"}},
		"too large":       {strings.Repeat("#", 1<<20) + "\n", []string{"larger than 1048576 bytes"}},
		"long key":        {strings.Repeat("k", 200) + ": 1", []string{"no such key; the keys here are"}},
		"nested too deep": {"door: " + strings.Repeat("{target: ", 3) + "x" + strings.Repeat("}", 3), []string{"door.target: one value is expected here"}},
	} {
		t.Run(name, func(t *testing.T) {
			var s settings
			faults := strictyaml.Decode("f.yaml", []byte(test.text), &s).Faults()
			if len(faults) != len(test.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(faults), len(test.want), faults)
			}
			for i, want := range test.want {
				if !strings.Contains(faults[i].Error(), want) {
					t.Errorf("fault %d is %q, want %q in it", i, faults[i], want)
				}
			}
		})
	}
}

// TestRejectFindsThePlace: of the key, or of what it belongs to.
func TestRejectFindsThePlace(t *testing.T) {
	var s settings
	d := strictyaml.Decode("f.yaml", []byte("name: a\ndoors:\n  x: {target: t}\nlist:\n- {target: t}\n"), &s)
	d.Reject("list[0].targets", "three")
	d.Reject("doors.x.target", "one")
	d.Reject("doors.x.wait", "two")
	d.Reject("mode", "nowhere")
	want := "f.yaml: mode: nowhere\nf.yaml:3:7: doors.x.target: one\nf.yaml:3:3: doors.x.wait: two\nf.yaml:5:3: list[0].targets: three"
	lines := strings.Split(d.Faults().Error(), "\n")
	for _, line := range strings.Split(want, "\n") {
		if !strings.Contains(d.Faults().Error(), line) {
			t.Errorf("no %q in %q", line, lines)
		}
	}
}

// TestS39FaultsShowNoLine: what stands in the wrong place may be a secret.
func TestS39FaultsShowNoLine(t *testing.T) {
	for _, text := range []string{
		"zebra: hunter2", "name: [hunter2]", "name: \"hunter2", "door: hunter2", "hunter2", "mode: hunter2", "door: {zebra: hunter2, target: {a: hunter2}}", "name: 'a'hunter2: b",
	} {
		var s settings
		faults := strictyaml.Decode("f.yaml", []byte(text), &s).Faults()
		if len(faults) == 0 {
			t.Errorf("%q: no fault", text)
		}
		if strings.Contains(faults.Error(), "hunter2") {
			t.Errorf("%q: %v", text, faults)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "name: a", "door:\n  target: t", "list: [{targets: [a]}]", "doors: {x: {wait: 1s}}", "any: *a", "&a a: b", "? [a]: b", "mode: on\n---\n", "\t", "a: |\n  b\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s settings
		for _, fault := range strictyaml.Decode("f.yaml", text, &s).Faults() {
			if fault.Message == "" || fault.Line < 0 || fault.Column < 0 {
				t.Errorf("fault %+v", fault)
			}
		}
	})
}
