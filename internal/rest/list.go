package rest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/rest/filter"
)

const (
	listHead = `{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":`
	listTail = "}\n"
)

// gather collects the JSON of the items that the caller may and wants to see. Only what is not kept is marshalled.
func gather[T any](c *Call, items iter.Seq2[Item[T], error]) ([][]byte, error) {
	f, err := filter.Parse(c.Param("filter"))
	if err != nil {
		if !c.route.strict {
			err = errs.As(errs.Internal, err)
		}
		return nil, err
	}
	var parts [][]byte
	for it, err := range items {
		if err != nil {
			return nil, err
		}
		part, err := c.part(f, erase(it))
		if err != nil {
			return nil, err
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// erased is an Item of any type, so that what follows is compiled once.
type erased struct {
	url, project string
	open         bool

	value func(int) any
	json  func(int) []byte
}

func erase[T any](it Item[T]) erased {
	return erased{it.URL, it.Project, it.Open, func(n int) any { return it.Value(n) }, it.JSON}
}

// part is the JSON of one item, nil for one that is left out.
func (c *Call) part(f *filter.Filter, it erased) ([]byte, error) {
	if !c.Caller.Admin && !c.sees(it) {
		return nil, nil
	}
	if f != nil {
		ok, err := f.Match(it.value(max(c.Recursion, 1)))
		if err != nil || !ok {
			return nil, err
		}
	}
	if c.Recursion == 0 {
		return quote(it.url), nil
	}
	b, err := it.marshal(c.Recursion)
	if err != nil || c.wanted == nil {
		return b, err
	}
	return entitle(b, c.entitled(c.objectAt(c.route.shows, it))), nil
}

// marshal is the JSON of the item.
func (it erased) marshal(recursion int) ([]byte, error) {
	if it.json != nil {
		if b := it.json(recursion); b != nil {
			return b, nil
		}
	}
	b, err := json.Marshal(it.value(recursion))
	if err != nil {
		return nil, fmt.Errorf("marshal %s: %w", it.url, err)
	}
	return b, nil
}

// sees tells whether the caller may view an item of a list.
func (c *Call) sees(it erased) bool {
	a := c.route.Access
	return it.open || a.Entity() == "" || c.May(c.objectAt(a.Entity(), it), a.Entitlement())
}

// quote makes a JSON string; URLs hardly ever need more than quotes.
func quote(s string) []byte {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) }) < 0 {
		b := make([]byte, 0, len(s)+2)
		return append(append(append(b, '"'), s...), '"')
	}
	b, _ := json.Marshal(s) // a string always marshals
	return b
}

// chunk is the size of the buffers that join small parts into writes worth a system call.
const chunk = 64 << 10

// list sends the parts as they are; kept JSON goes from memory to the connection.
func (s *Server) list(w http.ResponseWriter, c *Call, parts [][]byte) error {
	size := len(listHead) + len("[]") + max(len(parts)-1, 0) + len(listTail)
	for _, p := range parts {
		size += len(p)
	}
	if len(parts) == 0 && c.route.nullEmpty {
		size += len("null") - len("[]")
	}
	body := s.open(w, c, size)
	defer body.Close()
	out, ok := s.chunks.Get().(*bufio.Writer)
	if !ok {
		out = bufio.NewWriterSize(nil, chunk)
	}
	defer s.chunks.Put(out)
	out.Reset(body)
	writeParts(out, parts, c.route.nullEmpty)
	_ = out.Flush() // a client that went away needs no answer
	out.Reset(nil)
	return nil
}

func writeParts(out *bufio.Writer, parts [][]byte, nullEmpty bool) {
	_, _ = io.WriteString(out, listHead)
	if len(parts) == 0 && nullEmpty {
		_, _ = out.WriteString("null")
	} else {
		_ = out.WriteByte('[')
		for i, p := range parts {
			if i > 0 {
				_ = out.WriteByte(',')
			}
			_, _ = out.Write(p)
		}
		_ = out.WriteByte(']')
	}
	_, _ = io.WriteString(out, listTail)
}

// Items makes a list of objects that are at hand.
func Items[T any](all []T, err error, url func(T) string) iter.Seq2[Item[T], error] {
	return func(yield func(Item[T], error) bool) {
		if err != nil {
			yield(Item[T]{}, err)
			return
		}
		for _, v := range all {
			if !yield(Item[T]{URL: url(v), Value: func(int) T { return v }}, nil) {
				return
			}
		}
	}
}

// Within says of each item which project it is in, for lists whose URLs do not tell.
func Within[T any](list iter.Seq2[Item[T], error], project func(T) string) iter.Seq2[Item[T], error] {
	return func(yield func(Item[T], error) bool) {
		for it, err := range list {
			if err == nil {
				it.Project = project(it.Value(1))
			}
			if !yield(it, err) {
				return
			}
		}
	}
}
