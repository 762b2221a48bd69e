// Package jsonscan walks over JSON without decoding it, so that a few fields of a long list cost little more than reading
// it. It finds where values begin and end and does not check what is inside of those that are skipped.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrForm is JSON that does not have the expected form.
var ErrForm = errors.New("malformed JSON")

// Object calls each with every key, as it is written, and value of the object in data.
func Object(data []byte, each func(key, value []byte) error) error {
	return members(data, '{', func(i int) (int, error) {
		end, err := text(data, i)
		if err != nil {
			return 0, err
		}
		key := data[i+1 : end-1]
		if i = blank(data, end); i >= len(data) || data[i] != ':' {
			return 0, ErrForm
		}
		i = blank(data, i+1)
		if end, err = skip(data, i); err != nil {
			return 0, err
		}
		return end, each(key, data[i:end])
	})
}

// Array calls each with every value of the array in data; null is an empty one.
func Array(data []byte, each func(value []byte) error) error {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil
	}
	return members(data, '[', func(i int) (int, error) {
		end, err := skip(data, i)
		if err != nil {
			return 0, err
		}
		return end, each(data[i:end])
	})
}

// members walks over what stands, with commas between, in the brackets that open starts; one reads a member and returns
// its end.
func members(data []byte, open byte, one func(int) (int, error)) error {
	shut := open + 2 // so it is for both kinds of brackets
	i := blank(data, 0)
	if i >= len(data) || data[i] != open {
		return ErrForm
	}
	i = blank(data, i+1)
	if i < len(data) && data[i] == shut {
		return nil
	}
	for {
		end, err := one(blank(data, i))
		if err != nil {
			return err
		}
		i = blank(data, end)
		switch {
		case i < len(data) && data[i] == ',':
			i++
		case i < len(data) && data[i] == shut:
			return nil
		default:
			return ErrForm
		}
	}
}

// Text is the string that value spells.
func Text(value []byte) (string, error) {
	if len(value) >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), nil
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err
}

// blank is the index of the first byte from i on that is not white space.
func blank(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// text is the end of the string that starts at i.
func text(data []byte, i int) (int, error) {
	if i >= len(data) || data[i] != '"' {
		return 0, ErrForm
	}
	for i++; ; i++ {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return 0, ErrForm
		}
		i += n
		slashes := 0
		for data[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1, nil
		}
	}
}

// skip is the end of the value that starts at i.
func skip(data []byte, i int) (int, error) {
	if i >= len(data) {
		return 0, ErrForm
	}
	switch data[i] {
	case '"':
		return text(data, i)
	case '{', '[':
		return nested(data, i)
	}
	start := i
	for i < len(data) && !bytes.ContainsRune([]byte(",]} \n\t\r"), rune(data[i])) {
		i++
	}
	if i == start {
		return 0, ErrForm
	}
	return i, nil
}

// nested is the end of the object or array that starts at i.
func nested(data []byte, i int) (int, error) {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			end, err := text(data, i)
			if err != nil {
				return 0, err
			}
			i = end
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
		i++
	}
	return 0, ErrForm
}
