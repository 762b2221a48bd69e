package rest

import (
	"net/http"
	"strings"
	"sync/atomic"

	"lxd/api"
	"lxd/internal/op"
)

// Results of requests (label values of the metrics).
const (
	succeeded   = "succeeded"
	clientError = "error_client"
	serverError = "error_server"
)

var results = [...]string{clientError, serverError, succeeded}

// topics tells what kind of object the requests below a path are about (label values of the metrics).
var topics = map[string]string{
	"cluster": "cluster_member", "auth": "identity", "certificates": "identity", "images": "image", "instances": "instance",
	"containers": "instance", "virtual-machines": "instance", "operations": "operation", "profiles": "profile", "projects": "project",
	"storage-pools": "storage_pool", "storage-volumes": "storage_pool", "warnings": "warning",
}

// entities are all values of topics, in order, and that of everything else.
var entities = [...]string{"cluster_member", "identity", "image", "instance", "network", "operation", "profile", "project", "server", "storage_pool", "warning"}

// tally counts requests by what they are about.
type tally [len(entities)]struct {
	ongoing   atomic.Int64
	completed [len(results)]atomic.Int64
}

// Requests is how often requests about one kind of object were made. A request that started an operation ends with that.
type Requests struct {
	Entity    string
	Ongoing   int64
	Completed map[string]int64
}

// Requests tells how many requests were answered and are being answered.
func (s *Server) Requests() (out []Requests) {
	for i := range s.tally {
		t := &s.tally[i]
		r := Requests{Entity: entities[i], Ongoing: t.ongoing.Load(), Completed: map[string]int64{}}
		for j, result := range results {
			r.Completed[result] = t.completed[j].Load()
		}
		out = append(out, r)
	}
	return out
}

// begin counts a request; the returned function counts its end. Paths that are not of the API are not counted.
func (t *tally) begin(path string) (end func(status int, work *op.Operation)) {
	i := topic(path)
	if i < 0 {
		return func(int, *op.Operation) {}
	}
	t[i].ongoing.Add(1)
	finish := func(result int) {
		t[i].ongoing.Add(-1)
		t[i].completed[result].Add(1)
	}
	return func(status int, work *op.Operation) {
		if work == nil {
			finish(outcome(status))
			return
		}
		go func() {
			<-work.Done()
			if work.API().StatusCode == api.StatusSuccess {
				finish(outcome(http.StatusOK))
				return
			}
			finish(outcome(http.StatusInternalServerError))
		}()
	}
}

// topic is the index of what a path is about, -1 for what is not of the API.
func topic(path string) int {
	rest, ok := strings.CutPrefix(path, "/1.0")
	if !ok || rest != "" && rest[0] != '/' {
		return -1
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	name := topics[word]
	switch {
	case strings.HasPrefix(word, "network"):
		name = "network"
	case name == "":
		name = "server"
	}
	for i, e := range entities {
		if e == name {
			return i
		}
	}
	return -1
}

// outcome is the index of the result that a status means.
func outcome(status int) int {
	switch {
	case status >= http.StatusInternalServerError:
		return 1
	case status >= http.StatusBadRequest:
		return 0
	}
	return 2
}
