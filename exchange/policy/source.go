package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a policy folder may cost to read. A policy of 10,000 rules is under 2 MB.
const (
	maxFiles     = 512
	maxFileBytes = 4 << 20
	maxBytes     = 16 << 20
	maxDepth     = 24     // of nested lists and maps
	maxIndent    = 200    // columns
	maxBlank     = 400    // blank lines on end: the lexer takes their square in time
	maxKeys      = 25_000 // that begin in one column: so does the parser with the keys of a map
)

// source is the text of one file.
type source struct {
	name string
	text []byte
	cut  []string // the lines, once asked for
}

// lines are the lines of the text without their ends.
func (s *source) lines() []string {
	if s.cut == nil {
		s.cut = strings.Split(string(s.text), "\n")
	}
	return s.cut
}

// snapshot is a folder read once, so that what is hashed is what is compiled.
type snapshot struct {
	files []*source
	hash  string
}

// readFolder reads the files of fsys's root whose names keep accepts, in order of
// name. Faults are collected, never returned early.
func readFolder(fsys fs.FS, keep func(name string) bool) (snapshot, Faults) {
	var s snapshot
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return s, Faults{{Message: "the policy folder cannot be read: " + plainPathError(err)}}
	}
	var faults Faults
	total := 0
	digest := sha256.New()
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !keep(e.Name()) {
			continue
		}
		if len(s.files) == maxFiles {
			return s, append(faults, Fault{Message: fmt.Sprintf("the policy folder has more than %d files: join some of them", maxFiles)})
		}
		text, err := readFile(fsys, e.Name())
		if err != nil {
			faults = append(faults, Fault{File: e.Name(), Message: err.Error()})
			continue
		}
		if total += len(text); total > maxBytes {
			return s, append(faults, Fault{Message: fmt.Sprintf("the policy folder is over %d bytes", maxBytes)})
		}
		s.files = append(s.files, &source{name: e.Name(), text: text})
		// Lengths stand before names and contents, so that no two folders share
		// an encoding.
		writeSized(digest, []byte(e.Name()))
		writeSized(digest, text)
	}
	s.hash = hex.EncodeToString(digest.Sum(nil))
	return s, faults
}

func writeSized(w io.Writer, b []byte) {
	_, _ = w.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
	_, _ = w.Write(b)
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, errors.New("the file cannot be opened: " + plainPathError(err))
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, errors.New("the file cannot be read: " + plainPathError(err))
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("the file is over %d bytes: split it", maxFileBytes)
	}
	return text, nil
}

// plainPathError leaves out the path, which the fault names already.
func plainPathError(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

func isPolicyFile(name string) bool { return isYAML(name) && !isTestFile(name) }

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func isTestFile(name string) bool {
	return strings.HasSuffix(name, "_test.yaml") || strings.HasSuffix(name, "_test.yml")
}

// parse gives the file's one document; nil for a file without content.
func (s *source) parse() (body ast.Node, faults Faults) {
	// The parser has met every input that we thought of, and the fuzzer's; a
	// running server must still not fall over an editor's half-written file.
	defer func() {
		if p := recover(); p != nil {
			body, faults = nil, Faults{{File: s.name, Message: "the file is not YAML that can be read"}}
		}
	}()
	if i := invalidText(s.text); i >= 0 {
		line := 1 + bytes.Count(s.text[:i], []byte("\n"))
		column := i - bytes.LastIndexByte(s.text[:i], '\n')
		return nil, Faults{s.at(line, column, "the file is not plain UTF-8 text here")}
	}
	if line := s.blankRun(); line > 0 {
		return nil, Faults{s.at(line, 1, "too many blank lines on end: take some out")}
	}
	tokens := lexer.Tokenize(string(s.text))
	if f, bad := s.refuse(tokens); bad {
		return nil, Faults{f}
	}
	// Duplicate keys are found by the decoder, which goes on after the first.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Faults{s.yamlFault(err)}
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.NullType {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		return nil, nil
	case 1:
		return docs[0], nil
	default:
		return nil, Faults{s.fault(docs[1], "a policy file is one YAML document: put the second into a file of its own")}
	}
}

// blankRun is the line where too many blank ones on end have come; 0: nowhere. A
// lone carriage return ends a line too, as in YAML 1.2 §5.4.
func (s *source) blankRun() int {
	line, run := 1, 0
	for _, c := range s.text {
		switch c {
		case '\n', '\r':
			if c == '\n' {
				line++
			}
			if run++; run > maxBlank { // CRLF counts twice
				return line
			}
		case ' ', '\t':
		default:
			run = 0
		}
	}
	return 0
}

// invalidText finds the first byte that is not UTF-8 or is a control character
// other than tab and line ends; -1: none.
func invalidText(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return i
		}
		i += n
	}
	return -1
}

// refuse finds what could make a small file expensive (anchors, deep nesting) and
// what would let a value be other than it looks (tags, merges), before anything
// recursive sees the tokens.
func (s *source) refuse(tokens token.Tokens) (Fault, bool) {
	depth, entries, line := 0, 0, 0
	keys := map[int]int{} // by column
	for _, t := range tokens {
		if t.Position == nil {
			continue
		}
		why := ""
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			why = "anchors, aliases and merges are not read here: write the value out, or use defaults"
		case token.TagType:
			why = "tags are not read here: leave the tag out, and quote what must be a text"
		case token.DirectiveType:
			why = "directives are not read here: leave the line out"
		case token.MappingKeyType:
			why = "write the key as `key: value`"
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			entries++
		case token.MappingValueType:
			column := t.Position.Column
			if t.Prev != nil && t.Prev.Position != nil {
				column = t.Prev.Position.Column
			}
			if keys[column]++; keys[column] > maxKeys {
				why = fmt.Sprintf("more than %d keys in this column: split the file", maxKeys)
			}
		}
		if depth > maxDepth || entries > maxDepth || t.Position.IndentNum > maxIndent {
			why = "lists and maps are nested too deeply"
		}
		if why != "" {
			return s.at(t.Position.Line, t.Position.Column, why), true
		}
	}
	return Fault{}, false
}

// yamlFault places an error of the YAML library.
func (s *source) yamlFault(err error) Fault {
	var e yaml.Error
	if errors.As(err, &e) {
		if t := e.GetToken(); t != nil && t.Position != nil {
			return s.at(t.Position.Line, t.Position.Column, e.GetMessage())
		}
		return Fault{File: s.name, Message: e.GetMessage()}
	}
	return Fault{File: s.name, Message: err.Error()}
}

// fault is a fault at a node.
func (s *source) fault(n ast.Node, format string, args ...any) Fault {
	line, column := place(n)
	return s.at(line, column, fmt.Sprintf(format, args...))
}

// at is a fault at a line and column from 1.
func (s *source) at(line, column int, message string) Fault {
	return Fault{File: s.name, Line: line, Column: column, Message: message, Excerpt: s.excerpt(line, column)}
}

// pasted is the value of a key that names a secret, where it is no reference: some
// people paste the secret itself.
var pasted = regexp.MustCompile(`(?i)(\b(?:[a-z_]*secret|secret_id|api_?key|pass(?:word|phrase)|private_key)["']?\s*:\s+["']?)[^\s"'{}\[\],$][^"',}\n]*`)

// excerpt shows the line, the one before it, and a caret under the column. It goes to
// logs, so a secret that was pasted where its name belongs is left out.
func (s *source) excerpt(line, column int) string {
	const width = 160
	lines := s.lines()
	if line < 1 || line > len(lines) {
		return ""
	}
	var b strings.Builder
	for n := max(1, line-1); n <= line; n++ {
		text := pasted.ReplaceAllString(strings.TrimRight(lines[n-1], "\r"), "${1}REDACTED")
		if len(text) > width {
			text = strings.ToValidUTF8(text[:width], "") + "…"
		}
		mark := " "
		if n == line {
			mark = ">"
		}
		fmt.Fprintf(&b, "%s%5d | %s\n", mark, n, strings.ReplaceAll(text, "\t", " "))
	}
	if column >= 1 && column <= width {
		fmt.Fprintf(&b, "       | %s^", strings.Repeat(" ", column-1))
	}
	return strings.TrimRight(b.String(), "\n")
}

// place is where a node begins, which for a map is its first key and not its
// first colon.
func place(n ast.Node) (line, column int) {
	switch n := n.(type) {
	case nil:
		return 0, 0
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return place(n.Values[0])
		}
	case *ast.MappingValueNode:
		return place(n.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 0, 0
}
