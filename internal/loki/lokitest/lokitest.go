// Package lokitest is a stand-in for a Loki server. It is strict: what a real one would refuse, or could not make sense of, it refuses.
package lokitest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// bodyMax is the most that one request may hold, as servers have it by default.
const bodyMax = 4 << 20

// Server takes entries; it is an http.Handler. Its methods may be called at the same time.
type Server struct {
	// Heard is called with each line, its labels before it: {app="lxd",type="logging"} text.
	Heard func(line string)
	// Broken is called with what was refused because it broke the protocol; nil is nobody.
	Broken func(why string)

	mu       sync.Mutex
	fail     []int
	username string
	password string
	wrong    []string
	pushes   int
}

// Fail has the next requests answered with these statuses, one each.
func (s *Server) Fail(status ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = append(s.fail, status...)
}

// Protect has the server ask for basic authentication.
func (s *Server) Protect(username, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.username, s.password = username, password
}

// Wrong lists what was refused because it broke the protocol.
func (s *Server) Wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrong)
}

// Pushes counts the requests that were taken.
func (s *Server) Pushes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushes
}

// ServeHTTP takes one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fail) > 0 {
		status := s.fail[0]
		s.fail = s.fail[1:]
		http.Error(w, "told to fail", status)
		return
	}
	if user, word, _ := r.BasicAuth(); user != s.username || word != s.password {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	lines, err := read(r)
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
		if s.Broken != nil {
			s.Broken(err.Error())
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.pushes++
	for _, l := range lines {
		s.Heard(l)
	}
	w.WriteHeader(http.StatusNoContent)
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// read checks a request and returns its lines.
func read(r *http.Request) (lines []string, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/loki/api/v1/push" {
		return nil, fmt.Errorf("%s %s is not the push API", r.Method, r.URL)
	}
	if t := r.Header.Get("Content-Type"); t != "application/json" {
		return nil, fmt.Errorf("content type %q", t)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, bodyMax+1))
	if err != nil || len(b) > bodyMax {
		return nil, fmt.Errorf("%d bytes at once: %w", len(b), err)
	}
	var body struct {
		Streams []struct {
			Stream map[string]string `json:"stream"`
			Values [][]string        `json:"values"`
		} `json:"streams"`
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return nil, err
	}
	if len(body.Streams) == 0 {
		return nil, fmt.Errorf("no streams")
	}
	seen := map[string]bool{}
	for _, s := range body.Streams {
		labels, err := labelsOf(s.Stream)
		if err != nil {
			return nil, err
		}
		if seen[labels] {
			return nil, fmt.Errorf("two streams are %s", labels)
		}
		seen[labels] = true
		more, err := values(s.Values)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", labels, err)
		}
		for _, line := range more {
			lines = append(lines, labels+" "+line)
		}
	}
	return lines, nil
}

func labelsOf(stream map[string]string) (string, error) {
	if len(stream) == 0 || len(stream) > 15 {
		return "", fmt.Errorf("%d labels", len(stream))
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(stream)) {
		if !labelName.MatchString(name) || len(stream[name]) > 2048 {
			return "", fmt.Errorf("label %q is %q", name, stream[name])
		}
		out = append(out, name+"="+strconv.Quote(stream[name]))
	}
	return "{" + strings.Join(out, ",") + "}", nil
}

// values checks the entries of a stream: they are in order, and of about now.
func values(all [][]string) (lines []string, err error) {
	if len(all) == 0 {
		return nil, fmt.Errorf("no entries")
	}
	var last int64
	for _, v := range all {
		if len(v) != 2 || !utf8.ValidString(v[1]) {
			return nil, fmt.Errorf("an entry is %q", v)
		}
		ns, err := strconv.ParseInt(v[0], 10, 64)
		if err != nil {
			return nil, err
		}
		if age := time.Since(time.Unix(0, ns)); ns < last || age > time.Hour || age < -time.Minute {
			return nil, fmt.Errorf("an entry is of %s, the one before of %s", time.Unix(0, ns), time.Unix(0, last))
		}
		last, lines = ns, append(lines, v[1])
	}
	return lines, nil
}
