package migrate

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"lxd/internal/errs"
	"lxd/internal/host/address"
	"lxd/internal/op"
)

// Names of the two streams of a migration (wire names).
const (
	controlStream = "control"
	dataStream    = "fs"
)

// patience is how long is waited for the other side to connect, and for its part of the talk before and after the data.
const patience = 30 * time.Second

// link is the two connections of a migration, made by either side.
type link struct {
	secrets map[string]string
	ready   chan struct{}

	mu    sync.Mutex
	conns map[string]*websocket.Conn
}

// newLink waits for the other side to connect.
func newLink() *link {
	l := &link{secrets: map[string]string{}, ready: make(chan struct{}), conns: map[string]*websocket.Conn{}}
	for _, name := range []string{controlStream, dataStream} {
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails
		l.secrets[name] = hex.EncodeToString(b[:])
	}
	return l
}

// metadata is what clients are told.
func (l *link) metadata() map[string]any {
	out := map[string]any{}
	for k, v := range l.secrets {
		out[k] = v
	}
	return out
}

// connect takes one connection; its secret says which. Each is taken once.
func (l *link) connect(w http.ResponseWriter, r *http.Request) error {
	secret := r.URL.Query().Get("secret")
	if secret == "" {
		return errs.Newf(errs.Invalid, "the secret is missing: add ?secret=... to the URL")
	}
	name := ""
	for n, s := range l.secrets {
		if subtle.ConstantTimeCompare([]byte(s), []byte(secret)) == 1 {
			name = n
		}
	}
	if name == "" {
		return errs.Newf(errs.Forbidden, "not authorized: the secret does not match")
	}
	l.mu.Lock()
	_, taken := l.conns[name]
	if !taken {
		l.conns[name] = nil
	}
	l.mu.Unlock()
	if taken {
		return errs.Newf(errs.Forbidden, "not authorized: the stream %q is connected already", name)
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil //nolint:nilerr // the upgrader has answered
	}
	l.take(name, c)
	return nil
}

func (l *link) take(name string, c *websocket.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[name] = c
	if l.conns[controlStream] != nil && l.conns[dataStream] != nil {
		close(l.ready)
	}
}

// await waits until both streams are there.
func (l *link) await(ctx context.Context) error {
	select {
	case <-l.ready:
		return nil
	case <-time.After(patience):
		return errs.Newf(errs.Unavailable, "the other server did not connect within %d seconds", int(patience.Seconds()))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outside refuses addresses that only this server's own network can reach. It looks at that of the very connection, whatever a name means
// before or after.
func outside(_, where string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(where)
	if err == nil && !address.Public(at.Addr()) {
		err = errs.Newf(errs.Forbidden, "%s is an address of this server's own network: only its administrators may have it connect there; "+
			"copy with --mode=relay, or ask one", at.Addr())
	}
	return err
}

// dial connects to an operation of the other server, whose certificate must be the one given. On behalf of those who are restricted it
// only goes where everybody can.
func dial(ctx context.Context, operation, certificate string, secrets map[string]string) (*link, error) {
	u, err := url.Parse(operation)
	if err != nil || u.Scheme != "https" || u.Host == "" || !strings.HasPrefix(u.Path, "/1.0/operations/") || u.User != nil {
		return nil, errs.Newf(errs.Invalid, "operation %q: it must be an address such as https://HOST:PORT/1.0/operations/ID", operation)
	}
	config, err := pinned(certificate)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Path = "wss", strings.TrimSuffix(u.Path, "/")+"/websocket"
	var to net.Dialer
	if op.CallerOf(ctx).Restricted {
		to.Control = outside
	}
	l := &link{secrets: maps.Clone(secrets), ready: make(chan struct{}), conns: map[string]*websocket.Conn{}}
	for _, name := range []string{controlStream, dataStream} {
		u.RawQuery = url.Values{"secret": {secrets[name]}}.Encode()
		d := websocket.Dialer{NetDialContext: to.DialContext, TLSClientConfig: config, HandshakeTimeout: patience, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
		c, answer, err := d.DialContext(ctx, u.String(), nil)
		if err != nil {
			if answer != nil {
				_ = answer.Body.Close() // the status says enough
				err = errors.New(answer.Status)
			}
			l.close()
			if errs.Is(err, errs.Forbidden) {
				return nil, err
			}
			return nil, errs.Newf(errs.Unavailable, "connecting to %s: %w", u.Host, err)
		}
		l.take(name, c)
	}
	return l, nil
}

// pinned trusts one certificate alone.
func pinned(text string) (*tls.Config, error) {
	if text == "" {
		return &tls.Config{MinVersion: tls.VersionTLS13}, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errs.Newf(errs.Invalid, "the certificate of the other server is not in PEM form")
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "the certificate of the other server: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // what counts is compared below
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !s.PeerCertificates[0].Equal(want) {
				return errs.Newf(errs.Forbidden, "the other server shows another certificate than it should")
			}
			return nil
		},
	}, nil
}

// close ends both streams.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c != nil {
			_ = c.Close() // it was used, or is given up
		}
	}
}

func (l *link) conn(name string) *websocket.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[name]
}

// data is the stream that the instance goes through.
func (l *link) data() *stream { return &stream{c: l.conn(dataStream)} }

// say sends a message on the control stream.
func (l *link) say(b []byte) error {
	c := l.conn(controlStream)
	_ = c.SetWriteDeadline(time.Now().Add(patience)) // an open connection takes one
	return c.WriteMessage(websocket.BinaryMessage, b)
}

// hear reads a message of the control stream, for as long as it may take.
func (l *link) hear(most time.Duration) ([]byte, error) {
	c := l.conn(controlStream)
	c.SetReadLimit(messageMax)
	until := time.Time{}
	if most > 0 {
		until = time.Now().Add(most)
	}
	_ = c.SetReadDeadline(until) // likewise
	_, b, err := c.ReadMessage()
	if err != nil {
		return nil, errs.Newf(errs.Unavailable, "the connection to the other server broke: %w", err)
	}
	return b, nil
}
