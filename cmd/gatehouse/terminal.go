package main

// What the command line writes:
//
//   - What was asked for goes to stdout, everything else to stderr, so that stdout can be piped.
//   - With --json stdout is exactly one JSON document, the API's own.
//   - On a terminal tables have colour; piped, or with NO_COLOR, they are the same aligned text without.
//   - An error is one line "gatehouse: ..." and, where there is something to do about it, one line "hint: ...".
//   - A secret is printed once, alone on its line on stdout; stderr says that it will not be shown again.
//   - Text that came from elsewhere is shown without control characters: it must not drive the terminal.

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
)

var (
	styleHeader = lipgloss.NewStyle().Bold(true)
	styleKey    = lipgloss.NewStyle().Faint(true)
	styleGood   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleBad    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	styleWarn   = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
)

// terminal is where people read. Styles are removed where the output is not a terminal.
type terminal struct {
	out, err io.Writer
}

func newTerminal(stdout, stderr io.Writer, env []string) *terminal {
	return &terminal{out: colorprofile.NewWriter(stdout, env), err: colorprofile.NewWriter(stderr, env)}
}

func (t *terminal) printf(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format, args...) } // a closed pipe ends the reading, not the command

// note writes to stderr what a person should know and a pipe should not carry.
func (t *terminal) note(format string, args ...any) { _, _ = fmt.Fprintf(t.err, format+"\n", args...) }

// fail writes an error and what to do about it.
func (t *terminal) fail(err error) {
	text, advice := err.Error(), ""
	if h, ok := asHint(err); ok {
		advice = h.hint
	}
	t.note("%s %s", styleBad.Render("gatehouse:"), oneLine(text))
	if advice != "" {
		t.note("%s %s", styleKey.Render("hint:"), oneLine(advice))
	}
}

// table writes rows below a header, in columns as wide as their widest cell.
func (t *terminal) table(header []string, rows [][]string) {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], lipgloss.Width(printable(cell)))
		}
	}
	var b strings.Builder
	write := func(row []string, style func(cell string) string) {
		gap := 0 // written before the next cell that is not empty, so that no line ends in spaces
		for i, cell := range row {
			cell = printable(cell)
			if cell != "" {
				b.WriteString(strings.Repeat(" ", gap))
				b.WriteString(style(cell))
				gap = 0
			}
			gap += widths[i] - lipgloss.Width(cell) + 2
		}
		b.WriteByte('\n')
	}
	write(header, func(cell string) string { return styleHeader.Render(cell) })
	for _, row := range rows {
		write(row, stateStyle)
	}
	t.printf("%s", b.String())
}

// fields writes names and values below each other. Values that are empty are left out.
func (t *terminal) fields(pairs [][2]string) {
	width := 0
	for _, p := range pairs {
		if p[1] != "" {
			width = max(width, len(p[0]))
		}
	}
	for _, p := range pairs {
		if p[1] != "" {
			t.printf("%s  %s\n", styleKey.Render(fmt.Sprintf("%-*s", width, p[0])), stateStyle(printable(p[1])))
		}
	}
}

// stateStyle colours the words that say whether something works.
func stateStyle(cell string) string {
	switch cell {
	case "active", "create", "served":
		return styleGood.Render(cell)
	case "suspended", "update", "inactive":
		return styleWarn.Render(cell)
	case "revoked", "expired", "archived", "delete":
		return styleBad.Render(cell)
	}
	return cell
}

// printable returns text without what could drive a terminal: control, bidirectional and zero-width characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// oneLine returns text on one line, printable.
func oneLine(text string) string {
	return printable(strings.Join(strings.Fields(text), " "))
}

// document writes v as one JSON document on one line, without escaping what HTML would need.
func (c *cli) document(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
