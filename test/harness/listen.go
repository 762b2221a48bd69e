package harness

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// streams are the websockets that a script has open, and what came through them; kept in the script's values.
type streams struct {
	mu    sync.Mutex
	all   map[string][]string
	conns map[string]*websocket.Conn
	// wrong is what was wrong with lifecycle events.
	wrong error
}

type streamsKey struct{}

func (s *streams) add(name, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = append(s.all[name], message)
}

func (s *streams) read(name string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name], s.wrong
}

func (s *streams) check(message []byte) {
	if err := checkLifecycle(message); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wrong = errors.Join(s.wrong, err)
	}
}

// Listening prepares a script for the commands listen, say and heard.
func Listening(env *testscript.Env) {
	env.Values[streamsKey{}] = &streams{all: map[string][]string{}, conns: map[string]*websocket.Conn{}}
}

func listen(ts *testscript.TestScript, neg bool, args []string) {
	d, scheme := &websocket.Dialer{NetDialContext: dial(ts)}, "ws"
	if len(args) == 6 && args[0] == "-tls" && args[2] == "-as" {
		t, ok := tlsClient(ts, args[1], args[3]).Transport.(*http.Transport)
		if !ok {
			ts.Fatalf("no way to %s", args[1])
		}
		d, scheme, args = &websocket.Dialer{NetDialContext: t.DialContext, TLSClientConfig: t.TLSClientConfig}, "wss", args[4:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listen [-tls ADDRESS -as DIR] NAME PATH")
	}
	s := ts.Value(streamsKey{}).(*streams)
	conn, _, err := d.Dial(scheme+"://lxd"+args[1], nil)
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
	s.conns[args[0]] = conn
	go func() {
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				s.add(args[0], "the end: "+err.Error())
				return
			}
			s.check(b)
			s.add(args[0], string(b))
		}
	}()
}

func say(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: say NAME TEXT")
	}
	conn := ts.Value(streamsKey{}).(*streams).conns[args[0]]
	if conn == nil {
		ts.Fatalf("there is no stream %s", args[0])
	}
	ts.Check(conn.WriteMessage(websocket.BinaryMessage, []byte(args[1]+"\n")))
}

func heard(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: heard NAME REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	s := ts.Value(streamsKey{}).(*streams)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		lines, wrong := s.read(args[0])
		ts.Check(wrong)
		all := strings.Join(lines, "\n")
		found := re.MatchString(all)
		switch {
		case found && neg:
			ts.Fatalf("there was such an event: %s", all)
		case found, neg:
			return
		case time.Now().After(deadline):
			ts.Fatalf("no such event in 10 s: %s", all)
		}
	}
}
