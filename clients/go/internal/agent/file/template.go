package file

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

// maxTemplate bounds a template and what it writes, in bytes.
const maxTemplate = 1 << 20

// page is a template that was read.
type page struct {
	template *template.Template
	targets  []string        // those that it names literally, in the order of the text
	words    map[string]bool // texts of the template itself: these may stand in errors
}

// moment prints as RFC 3339, and has the methods of a time: {{ (expires "x").Unix }}.
type moment struct{ time.Time }

func (m moment) String() string { return m.UTC().Format(time.RFC3339) }

// newPage parses a template, or the file that holds it.
func newPage(e *Entry) (*page, error) {
	text := e.Template
	if e.TemplateFile != "" {
		f, err := os.Open(e.TemplateFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		read, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.TemplateFile, err)
		}
		text = string(read)
	}
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("a template has at most %d bytes", maxTemplate)
	}
	t, err := template.New("template").Option("missingkey=error").Funcs(functions(nil, nil)).Parse(text)
	if err != nil {
		return nil, err
	}
	p := &page{template: t, words: map[string]bool{}}
	for _, t := range t.Templates() {
		if t.Tree != nil {
			p.walk(t.Root)
		}
	}
	return p, nil
}

func (e *Entry) checkTemplate(targets []string) []error {
	key := "template"
	if e.TemplateFile != "" {
		key = "template_file"
	}
	p, err := newPage(e)
	if err != nil {
		return []error{fmt.Errorf("%s: %w", key, err)}
	}
	var faults []error
	for _, name := range p.targets {
		if !slices.Contains(targets, name) {
			faults = append(faults, fmt.Errorf("%s: no target is called %q", key, name))
		}
	}
	return faults
}

// walk collects the texts of a template, and the targets among them.
func (p *page) walk(node parse.Node) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				p.walk(child)
			}
		}
	case *parse.ActionNode:
		p.walk(n.Pipe)
	case *parse.IfNode:
		p.branch(&n.BranchNode)
	case *parse.RangeNode:
		p.branch(&n.BranchNode)
	case *parse.WithNode:
		p.branch(&n.BranchNode)
	case *parse.TemplateNode:
		p.walk(n.Pipe)
	case *parse.ChainNode:
		p.walk(n.Node)
	case *parse.StringNode:
		p.words[n.Text] = true
	case *parse.PipeNode:
		if n != nil {
			for _, command := range n.Cmds {
				p.walk(command)
			}
		}
	case *parse.CommandNode:
		for _, argument := range n.Args {
			p.walk(argument)
		}
		p.call(n.Args)
	}
}

func (p *page) branch(n *parse.BranchNode) {
	p.walk(n.Pipe)
	p.walk(n.List)
	p.walk(n.ElseList)
}

func (p *page) call(arguments []parse.Node) {
	if len(arguments) < 2 {
		return
	}
	name, ok := arguments[0].(*parse.IdentifierNode)
	target, literal := arguments[1].(*parse.StringNode)
	if ok && literal && slices.Contains([]string{"token", "field", "expires"}, name.Ident) && !slices.Contains(p.targets, target.Text) {
		p.targets = append(p.targets, target.Text)
	}
}

// render executes the template. Each target is asked once, so that a token and its end
// are of the same credential.
func (p *page) render(g *gathering) ([]byte, error) {
	t, err := p.template.Clone()
	if err != nil {
		return nil, err
	}
	var b bounded
	if err := t.Funcs(functions(g, p.words)).Execute(&b, nil); err != nil {
		return nil, discreet(err, g.secrets)
	}
	return b.Bytes(), nil
}

// discreet is an error of text/template without the value that it may quote, as it does
// where a range is over a text.
func discreet(err error, secrets []string) error {
	text := err.Error()
	if where, _, ok := strings.Cut(text, "can't iterate over"); ok {
		return errors.New(where + "can't iterate over a text")
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text, secret) {
			where, _, _ := strings.Cut(text, ": executing")
			return errors.New(where + ": what is done with a credential there fails")
		}
	}
	return err
}

// functions of templates. Errors quote words of the template alone: a token that is
// mistaken for a name must not be in a log.
func functions(g *gathering, words map[string]bool) template.FuncMap {
	known := func(name string) error {
		if !words[name] {
			return errors.New("the name is no text of the template: write it there")
		}
		return nil
	}
	return template.FuncMap{
		"token": func(target string) (string, error) {
			if err := known(target); err != nil {
				return "", err
			}
			c, err := g.take(target)
			if err != nil {
				return "", err
			}
			return c.Value.Reveal(), nil
		},
		"field": func(target, name string) (string, error) {
			if err := errors.Join(known(target), known(name)); err != nil {
				return "", err
			}
			c, err := g.take(target)
			if err != nil {
				return "", err
			}
			value, err := format.Field(c, name)
			if err != nil {
				return "", fmt.Errorf("target %s: %w", target, err)
			}
			g.secret(value.Reveal())
			return value.Reveal(), nil
		},
		"expires": func(target string) (moment, error) {
			if err := known(target); err != nil {
				return moment{}, err
			}
			c, err := g.take(target)
			if err != nil {
				return moment{}, err
			}
			return moment{c.Expires}, nil
		},
		"json": func(text string) (string, error) {
			var b strings.Builder
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(false)
			err := encoder.Encode(text)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
		"shell":  format.ShellQuote,
		"base64": func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
	}
}

// bounded is a buffer for what templates write.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(text []byte) (int, error) {
	if b.Len()+len(text) > maxTemplate {
		return 0, fmt.Errorf("the template writes more than %d bytes", maxTemplate)
	}
	return b.Buffer.Write(text)
}
