package cli_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
)

// answer is what the fake server says to one request.
type answer struct {
	metadata any
	// code and text make it a refusal.
	code int
	text string
	// async answers with an operation that ends with the error fail, or well.
	async bool
	fail  string
	meta  map[string]any
	class string
	etag  string
	// names is the answer to a list that is asked for without recursion.
	names []string
}

// fake is a server that records requests and answers them from a table; what is not there is not found when read, and
// succeeds when written.
type fake struct {
	mu       sync.Mutex
	answers  map[string]answer
	requests []string
	ops      map[string]answer
}

func startFake(t *testing.T, answers map[string]answer) *fake {
	t.Helper()
	f := &fake{answers: answers, ops: map[string]answer{}}
	dir := t.TempDir()
	socket := filepath.Join(dir, "unix.socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(f)
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	t.Setenv("LXD_SOCKET", socket)
	t.Setenv("LXD_CONF", filepath.Join(dir, "conf"))
	t.Setenv("TERM", "vt100")
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", "sed -i s/Default/Edited/;s/busybox/bigbox/")
	return f
}

// recorded returns the requests so far and forgets them.
func (f *fake) recorded() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.requests
	f.requests = nil
	return out
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key := r.Method + " " + r.URL.RequestURI()
	f.mu.Lock()
	defer f.mu.Unlock()
	if id, ok := strings.CutPrefix(r.URL.Path, "/1.0/operations/"); ok && strings.HasSuffix(id, "/wait") {
		f.wait(w, strings.TrimSuffix(id, "/wait"))
		return
	}
	f.record(key, r, body)
	a, ok := f.answers[key]
	if !ok {
		a, ok = f.answers[r.Method+" "+r.URL.Path]
	}
	if !ok {
		a = missing(r)
	}
	if a.names != nil && !r.URL.Query().Has("recursion") {
		a.metadata = a.names
	}
	f.send(w, a)
}

// record keeps a request; If-Match and bodies matter, long or binary bodies only by their kind.
func (f *fake) record(key string, r *http.Request, body []byte) {
	line := key
	if etag := r.Header.Get("If-Match"); etag != "" {
		line += " [" + etag + "]"
	}
	switch kind := r.Header.Get("Content-Type"); {
	case len(body) == 0:
	case kind == "application/json":
		var v any
		if json.Unmarshal(body, &v) == nil {
			sorted, _ := json.Marshal(trim(v))
			body = sorted
		}
		line += " " + string(body)
	default:
		kind, _, _ = strings.Cut(kind, ";")
		line += fmt.Sprintf(" %s of %d bytes", kind, len(body))
	}
	f.requests = append(f.requests, line)
}

// trim removes what is empty from a body, so that transcripts show what matters.
func trim(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for key, value := range m {
		switch value {
		case nil, false, "", 0.0, "0001-01-01T00:00:00Z":
			delete(m, key)
			continue
		}
		m[key] = trim(value)
	}
	return m
}

func missing(r *http.Request) answer {
	if r.Method != http.MethodGet {
		return answer{async: strings.HasPrefix(r.URL.Path, "/1.0/instances")}
	}
	parts := strings.Split(r.URL.Path, "/")
	noun := map[string]string{"instances": "Instance", "profiles": "Profile", "networks": "Network", "images": "Image", "storage-pools": "Storage pool"}[parts[2]]
	return answer{code: http.StatusNotFound, text: strings.TrimSpace(noun + " not found")}
}

func (f *fake) send(w http.ResponseWriter, a answer) {
	envelope := map[string]any{"type": "sync", "status": "Success", "status_code": 200, "operation": "", "error_code": 0, "error": "", "metadata": a.metadata}
	status := http.StatusOK
	switch {
	case a.code != 0:
		status = a.code
		envelope["type"], envelope["error_code"], envelope["error"], envelope["metadata"] = "error", a.code, a.text, nil
	case a.async:
		status = http.StatusAccepted
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(f.ops)+1)
		f.ops[id] = a
		envelope["type"], envelope["status_code"], envelope["operation"] = "async", 100, "/1.0/operations/"+id
		envelope["metadata"] = operation(id, a, api.StatusRunning)
	}
	if a.etag != "" {
		w.Header().Set("ETag", a.etag)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(envelope)
}

// wait answers as the real server does: a failure is an error envelope under status 200.
func (f *fake) wait(w http.ResponseWriter, id string) {
	a := f.ops[id]
	envelope := map[string]any{"type": "sync", "status": "Success", "status_code": 200, "metadata": operation(id, a, api.StatusSuccess)}
	if a.fail != "" {
		envelope = map[string]any{"type": "error", "error_code": 500, "error": a.fail}
	}
	_ = json.NewEncoder(w).Encode(envelope)
}

func operation(id string, a answer, status api.StatusCode) api.Operation {
	return api.Operation{ID: id, Class: cmp.Or(a.class, "task"), Description: "Working", Status: status.String(), StatusCode: status,
		CreatedAt: time.Unix(1700000000, 0).UTC(), Metadata: a.meta, MayCancel: true}
}
