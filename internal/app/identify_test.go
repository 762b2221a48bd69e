package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

// TestListenersEndWithTheirIdentity opens a stream of events as an identity that is removed then: it must hear no more.
func TestListenersEndWithTheirIdentity(t *testing.T) {
	d := startDaemon(t)
	d.must(t, "POST", "/1.0/auth/groups", object{"name": "g", "permissions": []object{{"entity_type": "server", "url": "/1.0", "entitlement": "viewer"}}})
	listen := func(name string) (*x509.Certificate, *websocket.Conn) {
		t.Helper()
		c := trusttest.Certificate(t, time.Hour)
		d.must(t, "POST", "/1.0/auth/identities/tls", object{"name": name, "groups": []string{"g"}, "certificate": base64.StdEncoding.EncodeToString(c.Raw)})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
			d.handler.ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+"/1.0/events?type=lifecycle", nil)
		if err != nil {
			t.Fatal(err, resp)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return c, conn
	}
	gone, lost := listen("gone")
	_, kept := listen("kept")
	d.must(t, "DELETE", "/1.0/auth/identities/tls/"+trust.Fingerprint(gone), nil)
	ends := func(conn *websocket.Conn, within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return !strings.Contains(err.Error(), "timeout")
			}
		}
	}
	if !ends(lost, 5*time.Second) {
		t.Error("the listener of a removed identity goes on")
	}
	if ends(kept, 200*time.Millisecond) {
		t.Error("the listener of another identity was ended")
	}

}
