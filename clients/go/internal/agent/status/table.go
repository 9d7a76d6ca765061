package status

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Style is how a report is written for people.
type Style struct {
	Width int  // columns, at least 40; 0: 80
	Color bool // by ANSI escapes
}

const (
	green, yellow, red, bold, faint = "32", "33", "31", "1", "2"
)

// Write writes a report for people.
func (r *Report) Write(w io.Writer, style Style) error {
	if style.Width == 0 {
		style.Width = 80
	}
	p := &page{style: style, width: max(style.Width, 40)}
	word, color := "ready", green
	if !r.Ready {
		word, color = "not ready", yellow
	}
	p.line(p.paint("cambio-agent "+clean(r.Version), bold) + "  " + p.paint(word, color) + "  up " + span(r.Time.Sub(r.Started)))
	p.line("server  " + clean(r.Server))
	from := "the environment"
	if r.Config.File != "" {
		from = r.Config.File
	}
	p.line("config  " + clean(from) + ", read " + span(r.Time.Sub(r.Config.Loaded)) + " ago")
	if r.Config.Fault != "" {
		p.note("not in force: "+r.Config.Fault, red)
	}

	p.heading("TARGETS")
	var rows []row
	for _, t := range r.Targets {
		of := row{cells: []cell{{t.Name, ""}, {string(t.State), stateColor[t.State]}, {left(t.Expires, r.Time), ""}, {left(t.Renews, r.Time), ""}, {counts(t), ""}}}
		if t.Error != nil {
			of.note, of.color = t.Error.Message, red
		}
		rows = append(rows, of)
	}
	p.table([]string{"target", "state", "expires in", "renews in", "exchanges"}, rows)

	p.section("DOORS", []string{"door", "address", "targets"}, len(r.Doors), func(i int) row {
		d := r.Doors[i]
		return row{cells: []cell{{d.Name, ""}, {d.Address, ""}, {strings.Join(d.Targets, " "), ""}}}
	})
	p.section("FILES", []string{"file", "targets", "written"}, len(r.Files), func(i int) row {
		f := r.Files[i]
		written := cell{"not yet", yellow}
		if !f.Written.IsZero() {
			written = cell{span(r.Time.Sub(f.Written)) + " ago", ""}
		}
		return row{cells: []cell{{f.Path, ""}, {strings.Join(f.Targets, " "), ""}, written}, note: f.Fault, color: red}
	})
	p.section("PROXY", []string{"route", "address", "target", "upstream"}, len(r.Routes), func(i int) row {
		t := r.Routes[i]
		return row{cells: []cell{{t.Name, ""}, {t.Address, ""}, {t.Target, ""}, {t.Upstream, ""}}}
	})
	_, err := io.WriteString(w, p.text.String())
	return err
}

var stateColor = map[State]string{StateHeld: green, StateAged: yellow, StateMissing: red, StateWaiting: yellow, StatePerUser: faint}

func counts(t Target) string {
	if t.State == StatePerUser {
		return ""
	}
	if t.Failures == 0 {
		return fmt.Sprint(t.Exchanges)
	}
	return fmt.Sprintf("%d, %d failed", t.Exchanges, t.Failures)
}

// left is the time until then, for people.
func left(then, now time.Time) string {
	switch {
	case then.IsZero():
		return ""
	case !then.After(now):
		return "now"
	}
	return span(then.Sub(now))
}

// span is a duration in its two greatest units.
func span(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}

// page is text of a certain width.
type page struct {
	style Style
	width int
	text  strings.Builder
}

type cell struct{ text, color string }

// row is a line of a table, with a note below it where something is wrong.
type row struct {
	cells       []cell
	note, color string
}

func (p *page) paint(text, color string) string {
	if !p.style.Color || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (p *page) line(text string) { p.text.WriteString(strings.TrimRight(text, " ") + "\n") }

func (p *page) heading(text string) { p.line(""); p.line(p.paint(text, bold)) }

func (p *page) section(heading string, header []string, n int, of func(int) row) {
	if n == 0 {
		return
	}
	rows := make([]row, n)
	for i := range rows {
		rows[i] = of(i)
	}
	p.heading(heading)
	p.table(header, rows)
}

// table writes rows in columns. What is wider than the page is cut in its widest column,
// in the middle, where names and paths differ least.
func (p *page) table(header []string, rows []row) {
	const gap = 2
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = utf8.RuneCountInString(h)
		for _, r := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(shown(r.cells[i].text)))
		}
	}
	for {
		total, widest := gap*(len(widths)-1), 0
		for i, w := range widths {
			total += w
			if w > widths[widest] {
				widest = i
			}
		}
		if total <= p.width || widths[widest] <= 8 {
			break
		}
		widths[widest]--
	}
	write := func(cells []cell) {
		var b strings.Builder
		for i, c := range cells {
			text := cut(shown(c.text), widths[i])
			b.WriteString(p.paint(text, c.color))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+gap))
			}
		}
		p.line(b.String())
	}
	heads := make([]cell, len(header))
	for i, h := range header {
		heads[i] = cell{h, faint}
	}
	write(heads)
	for _, r := range rows {
		write(r.cells)
		if r.note != "" {
			p.note(r.note, r.color)
		}
	}
}

// note writes a text below a line, broken at blanks.
func (p *page) note(text, color string) {
	line := ""
	for word := range strings.FieldsSeq(clean(text)) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > p.width-2 {
			p.line("  " + p.paint(line, color))
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		p.line("  " + p.paint(line, color))
	}
}

func shown(text string) string {
	if text == "" {
		return "-"
	}
	return clean(text)
}

func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	head := (width - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}

// clean makes text from outside fit for a terminal: no control characters, which could
// move the cursor or forge a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
