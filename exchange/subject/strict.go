package subject

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deeply arrays and objects nest in what we read. Tokens of
// real issuers need five.
const maxDepth = 16

// The ways in which a text is not the JSON that we read. They reach callers, so
// they quote nothing.
var (
	errNotJSON      = errors.New("it is not valid JSON")
	errNotObject    = errors.New("it is not a JSON object")
	errDuplicate    = errors.New("an object holds one member name twice")
	errTooDeep      = errors.New("it nests too deeply")
	errNumber       = errors.New("it holds a number out of range")
	errText         = errors.New("it holds text that is not valid UTF-8")
	errTrailingText = errors.New("something follows the JSON object")
)

// decodeObject reads one JSON object (RFC 8259) the way S9 asks. Unlike
// encoding/json it refuses a member name that comes twice at any depth, matches
// names byte for byte, and replaces no bad text by U+FFFD: a signer and a
// verifier who read one text in two ways are how a forged claim gets in.
//
// Values are map[string]any, []any, string, bool, nil, int64 for whole numbers
// that fit, json.Number for those that do not, and float64.
func decodeObject(text string) (map[string]any, error) {
	d := decoder{text: text}
	d.space()
	if d.at >= len(d.text) || d.text[d.at] != '{' {
		return nil, errNotObject
	}
	object, err := d.object(1)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.at != len(d.text) {
		return nil, errTrailingText
	}
	return object, nil
}

// decoder is one pass over a text.
type decoder struct {
	text string
	at   int
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// take moves past c, or reports that something else stands there.
func (d *decoder) take(c byte) bool {
	if d.at < len(d.text) && d.text[d.at] == c {
		d.at++
		return true
	}
	return false
}

func (d *decoder) value(depth int) (any, error) {
	if d.at >= len(d.text) {
		return nil, errNotJSON
	}
	switch c := d.text[d.at]; {
	case c == '"':
		return d.string()
	case c == '{':
		return d.object(depth + 1)
	case c == '[':
		return d.array(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case d.word("true"):
		return true, nil
	case d.word("false"):
		return false, nil
	case d.word("null"):
		return nil, nil
	}
	return nil, errNotJSON
}

func (d *decoder) word(w string) bool {
	if !strings.HasPrefix(d.text[d.at:], w) {
		return false
	}
	d.at += len(w)
	return true
}

func (d *decoder) object(depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	d.at++
	members := map[string]any{}
	d.space()
	if d.take('}') {
		return members, nil
	}
	for {
		d.space()
		if d.at >= len(d.text) || d.text[d.at] != '"' {
			return nil, errNotJSON
		}
		name, err := d.string()
		if err != nil {
			return nil, err
		}
		d.space()
		if !d.take(':') {
			return nil, errNotJSON
		}
		d.space()
		if _, twice := members[name]; twice {
			return nil, errDuplicate
		}
		if members[name], err = d.value(depth); err != nil {
			return nil, err
		}
		d.space()
		if d.take('}') {
			return members, nil
		}
		if !d.take(',') {
			return nil, errNotJSON
		}
	}
}

func (d *decoder) array(depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	d.at++
	elements := []any{}
	d.space()
	if d.take(']') {
		return elements, nil
	}
	for {
		d.space()
		element, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
		d.space()
		if d.take(']') {
			return elements, nil
		}
		if !d.take(',') {
			return nil, errNotJSON
		}
	}
}

// string reads a string. One without escapes shares the text's memory.
func (d *decoder) string() (string, error) {
	d.at++
	begin := d.at
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c == '"':
			s := d.text[begin:d.at]
			d.at++
			if !utf8.ValidString(s) {
				return "", errText
			}
			return s, nil
		case c == '\\':
			return d.escaped(begin)
		case c < 0x20:
			return "", errNotJSON
		}
		d.at++
	}
	return "", errNotJSON
}

// escaped reads the rest of a string whose first escape stands at d.at.
func (d *decoder) escaped(begin int) (string, error) {
	var b strings.Builder
	b.WriteString(d.text[begin:d.at])
	for d.at < len(d.text) {
		c := d.text[d.at]
		d.at++
		switch {
		case c == '"':
			if !utf8.ValidString(b.String()) {
				return "", errText
			}
			return b.String(), nil
		case c < 0x20:
			return "", errNotJSON
		case c != '\\':
			b.WriteByte(c)
		default:
			if err := d.escape(&b); err != nil {
				return "", err
			}
		}
	}
	return "", errNotJSON
}

func (d *decoder) escape(b *strings.Builder) error {
	if d.at >= len(d.text) {
		return errNotJSON
	}
	c := d.text[d.at]
	d.at++
	switch c {
	case '"', '\\', '/':
		b.WriteByte(c)
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		r, err := d.hex()
		if err != nil {
			return err
		}
		if utf16.IsSurrogate(r) { // must be a pair, written as such (RFC 8259 §7)
			if !d.take('\\') || !d.take('u') {
				return errText
			}
			low, err := d.hex()
			if err != nil {
				return err
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return errText
			}
		}
		b.WriteRune(r)
	default:
		return errNotJSON
	}
	return nil
}

func (d *decoder) hex() (rune, error) {
	if d.at+4 > len(d.text) {
		return 0, errNotJSON
	}
	var r rune
	for _, c := range []byte(d.text[d.at : d.at+4]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, errNotJSON
		}
	}
	d.at += 4
	return r, nil
}

// number reads a number by the grammar of RFC 8259 §6.
func (d *decoder) number() (any, error) {
	begin := d.at
	d.take('-')
	whole := d.at
	if d.digits() == 0 || d.text[whole] == '0' && d.at > whole+1 {
		return nil, errNotJSON
	}
	integer := true
	if d.take('.') {
		integer = false
		if d.digits() == 0 {
			return nil, errNotJSON
		}
	}
	if d.take('e') || d.take('E') {
		integer = false
		if !d.take('+') {
			d.take('-')
		}
		if d.digits() == 0 {
			return nil, errNotJSON
		}
	}
	literal := d.text[begin:d.at]
	if len(literal) > 64 {
		return nil, errNumber
	}
	if integer {
		n, err := strconv.ParseInt(literal, 10, 64)
		if err != nil {
			return json.Number(literal), nil
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, errNumber
	}
	return f, nil
}

func (d *decoder) digits() int {
	begin := d.at
	for d.at < len(d.text) && d.text[d.at] >= '0' && d.text[d.at] <= '9' {
		d.at++
	}
	return d.at - begin
}
