package term

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain is text as it may be shown on a terminal: control characters other than line breaks and tabs become a visible mark. Much of what
// is shown was chosen by others, such as an image's description, or by what runs inside of an instance, such as names of interfaces; a
// terminal would take an escape sequence in it for a command.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return utf8.RuneError
		}
		return r
	}, text)
}
