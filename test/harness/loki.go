package harness

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/internal/loki/lokitest"
)

// lokiServer starts a stand-in for a Loki server; what it takes is heard as the stream of that name, with its labels before
// it, and so is what breaks the protocol: as "broken: …".
func lokiServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: loki VARIABLE NAME [USER:PASSWORD]")
	}
	s := ts.Value(streamsKey{}).(*streams)
	to := &lokitest.Server{Heard: func(line string) { s.add(args[1], line) }}
	to.Broken = func(why string) { s.add(args[1], "broken: "+why) }
	if len(args) == 3 {
		user, password, _ := strings.Cut(args[2], ":")
		to.Protect(user, password)
	}
	var l net.Listener
	ts.Check(within(ts.Getenv("NETNS"), func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	}))
	srv := &http.Server{Handler: to, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }() // it ends with Close
	ts.Defer(func() { _ = srv.Close() })
	ts.Setenv(args[0], "http://"+l.Addr().String())
}

// logTo sends a message to the daemon's syslog socket.
func logTo(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: syslog TEXT")
	}
	conn, err := net.Dial("unixgram", ts.Getenv("LXD_DIR")+"/syslog.socket")
	if err == nil {
		_, err = conn.Write([]byte(args[0]))
		_ = conn.Close()
	}
	if neg && err == nil {
		ts.Fatalf("the message was taken")
	}
	if !neg {
		ts.Check(err)
	}
}
