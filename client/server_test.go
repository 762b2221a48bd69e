package client_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"lxd/api"
	"lxd/client"
)

// serve starts a server on a unix socket and returns a client of it.
func serve(t *testing.T, routes map[string]http.HandlerFunc) *client.Client {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, handler)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(mux)
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	c, err := client.ConnectUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reply answers with an envelope.
func reply(kind api.ResponseType, metadata any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", "tag1")
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "status": "Success", "status_code": 200, "metadata": metadata})
	}
}

// refuse answers with an error; the HTTP status may be another one than the code, as it is for waiting.
func refuse(status, code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "error", "error_code": code, "error": text, "metadata": nil})
	}
}
