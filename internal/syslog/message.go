package syslog

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is one log message of another program.
type Message struct {
	// Facility and Severity are the numbers of the standard; 0 is the most severe.
	Facility, Severity int
	// Time is when the sender made it; zero if it does not say.
	Time time.Time
	// Host, App and PID are who the sender says it is; empty if it does not.
	Host, App, PID string
	// ID is the kind of message, and Data the structured data, both of the newer format alone.
	ID, Data string
	Text     string
}

// userNotice is what a message is taken for that does not say what it is.
const userNotice = 13

// fieldMax is the most that a field of a header may hold.
const fieldMax = 255

// Parse reads a message of either format: that of BSD (RFC 3164, also without a host name, as programs of the same host write it) or the newer
// one (RFC 5424). Whatever cannot be read as a header is text, so that nothing is lost; now fills in the year and zone that the older
// format leaves out.
func Parse(b []byte, now time.Time) Message {
	rest := clean(b)
	m := Message{Facility: userNotice / 8, Severity: userNotice % 8}
	if n, after, ok := priority(rest); ok {
		m.Facility, m.Severity, rest = n/8, n%8, after
	}
	if after, ok := strings.CutPrefix(rest, "1 "); ok && m.structured(after) {
		return m
	}
	m.legacy(rest, now)
	return m
}

// clean makes a text of what was sent: valid, without the bytes that control a terminal.
func clean(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "�"))
	return strings.TrimRight(s, " ")
}

// priority reads "<13>".
func priority(s string) (n int, rest string, ok bool) {
	end := strings.IndexByte(s, '>')
	if end < 2 || end > 4 || s[0] != '<' {
		return 0, s, false
	}
	n, err := strconv.Atoi(s[1:end])
	if err != nil || n < 0 || n > 191 || s[1] == '+' {
		return 0, s, false
	}
	return n, s[end+1:], true
}

// structured reads what follows the version of RFC 5424: TIME HOST APP PID ID DATA TEXT, where "-" stands for nothing.
func (m *Message) structured(s string) bool {
	var field [5]string
	for i := range field {
		word, rest, ok := strings.Cut(s, " ")
		if !ok || word == "" || len(word) > fieldMax {
			return false
		}
		if word != "-" {
			field[i] = word
		}
		s = rest
	}
	data, text, ok := structuredData(s)
	if !ok {
		return false
	}
	at := time.Time{}
	if field[0] != "" {
		var err error
		if at, err = time.Parse(time.RFC3339Nano, field[0]); err != nil {
			return false
		}
	}
	m.Time, m.Host, m.App, m.PID, m.ID, m.Data = at, field[1], field[2], field[3], field[4], data
	m.Text = strings.TrimPrefix(text, "\ufeff")
	return true
}

// structuredData cuts "-" or "[id name="value"]…" off; within values a backslash keeps the next byte from ending anything.
func structuredData(s string) (data, text string, ok bool) {
	if rest, found := strings.CutPrefix(s, "-"); found {
		return "", strings.TrimPrefix(rest, " "), rest == "" || rest[0] == ' '
	}
	at, quoted := 0, false
	for at < len(s) && s[at] == '[' {
		for at++; at < len(s) && (quoted || s[at] != ']'); at++ {
			switch {
			case quoted && s[at] == '\\':
				at++
			case s[at] == '"':
				quoted = !quoted
			}
		}
		if at >= len(s) {
			return "", "", false
		}
		at++
	}
	if at == 0 || at < len(s) && s[at] != ' ' {
		return "", "", false
	}
	return s[:at], strings.TrimPrefix(s[at:], " "), true
}

// legacy reads "Nov  2 15:04:05 HOST APP[PID]: TEXT", of which everything but the text may be missing.
func (m *Message) legacy(s string, now time.Time) {
	if len(s) >= len(time.Stamp) {
		if at, err := time.ParseInLocation(time.Stamp, s[:len(time.Stamp)], now.Location()); err == nil {
			m.Time, s = nearest(at, now), strings.TrimPrefix(s[len(time.Stamp):], " ")
		}
	}
	word, rest, _ := strings.Cut(s, " ")
	if m.tag(word) {
		m.Text = strings.TrimLeft(rest, " ")
		return
	}
	if next, after, _ := strings.Cut(rest, " "); !m.Time.IsZero() && len(word) <= fieldMax && m.tag(next) {
		m.Host, m.Text = word, strings.TrimLeft(after, " ")
		return
	}
	m.Text = s
}

// nearest gives a time without a year the year that brings it closest to now.
func nearest(at, now time.Time) time.Time {
	best := time.Time{}
	for _, year := range []int{now.Year() - 1, now.Year(), now.Year() + 1} {
		t := time.Date(year, at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location())
		if best.IsZero() || t.Sub(now).Abs() < best.Sub(now).Abs() {
			best = t
		}
	}
	return best
}

// tag reads "APP:" or "APP[PID]:".
func (m *Message) tag(word string) bool {
	name, ok := strings.CutSuffix(word, ":")
	if !ok || name == "" || len(name) > fieldMax || !utf8.ValidString(name) {
		return false
	}
	if app, pid, has := strings.Cut(name, "["); has {
		if pid, ok = strings.CutSuffix(pid, "]"); !ok || app == "" {
			return false
		}
		m.App, m.PID = app, pid
		return true
	}
	if strings.ContainsAny(name, "|=\"]") {
		return false // the beginning of a text
	}
	m.App = name
	return true
}
