package client_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/client"
)

// renewable has one good token after a bad one.
type renewable struct {
	token   string
	renewed int
}

func (r *renewable) Token(context.Context) (string, error) { return r.token, nil }
func (r *renewable) Renew(_ context.Context, refused string, h http.Header) (bool, error) {
	if refused != r.token || h.Get("X-How") == "" {
		return false, nil
	}
	r.renewed++
	r.token = "good"
	return true, nil
}

func TestCredentials(t *testing.T) {
	var bodies []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		if r.Header.Get("Authorization") != "Bearer good" || r.Header.Get("X-LXD-authenticated") != "true" {
			w.Header().Set("X-How", "so")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"type":"error","error":"who are you?","error_code":401,"metadata":null}`)
			return
		}
		_, _ = io.WriteString(w, `{"type":"sync","status_code":200,"metadata":{}}`)
	}))
	defer srv.Close()
	c, err := client.ConnectHTTPS(srv.URL, &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	send := func(c *client.Client, body any) error {
		_, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/1.0/x", Body: body})
		return err
	}
	if err := send(c, nil); client.StatusOf(err) != 401 {
		t.Error(err)
	}
	if err := send(c.As(client.Bearer("good")), nil); err != nil {
		t.Error(err)
	}
	if err := send(c.As(client.Bearer("bad")), nil); client.StatusOf(err) != 401 {
		t.Error(err)
	}
	bodies = nil
	r := &renewable{token: "old"}
	if err := send(c.As(r).InProject("p"), map[string]string{"a": "b"}); err != nil || r.renewed != 1 {
		t.Error(err, r.renewed)
	}
	if len(bodies) != 2 || bodies[0] != bodies[1] || bodies[0] == "" {
		t.Error("the second request was another one:", bodies)
	}
	bodies = nil
	r = &renewable{token: "old"}
	if err := send(c.As(r), strings.NewReader("a stream")); client.StatusOf(err) != 401 || len(bodies) != 1 {
		t.Error("a body that was read is sent again:", err, bodies)
	}
}

// TestARefusedWebsocketIsTriedTwice: nobody has to sign in again because of a token that is brand new and worth nothing here.
func TestARefusedWebsocketIsTriedTwice(t *testing.T) {
	tries := 0
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries++
		w.Header().Set("X-How", "so")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"error","error":"not you","error_code":403,"metadata":null}`)
	}))
	defer srv.Close()
	c, err := client.ConnectHTTPS(srv.URL, &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	r := &renewable{token: "old"}
	if _, err := c.As(r).Websocket(t.Context(), "id", "secret"); client.StatusOf(err) != 403 || tries != 2 || r.renewed != 1 {
		t.Error(err, tries, r.renewed)
	}
}
