package harness

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/client/simplestreams/tree"
)

// Serve offers the files in dir over https on the loopback address, in the network namespace of that name ("" is the test's own). A HEAD
// that asks for an image to be imported is answered by its address and hash. stop ends it.
func Serve(netns, dir string) (address string, stop func(), err error) {
	files := http.FileServer(http.Dir(dir))
	return serve(netns, func(string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && r.Header.Get("LXD-Server-Version") != "" {
				b, err := os.ReadFile(filepath.Join(dir, filepath.Clean("/"+r.URL.Path)))
				if err == nil {
					sum := sha256.Sum256(b)
					w.Header().Set("LXD-Image-Hash", hex.EncodeToString(sum[:]))
					w.Header().Set("LXD-Image-URL", r.URL.Path)
				}
			}
			files.ServeHTTP(w, r)
		})
	})
}

// serve lets what make returns for the address answer over https.
func serve(netns string, handler func(address string) http.Handler) (address string, stop func(), err error) {
	a, err := theAuthority()
	if err != nil {
		return "", nil, err
	}
	cert, err := a.leaf("image server", 24*time.Hour)
	if err != nil {
		return "", nil, err
	}
	var l net.Listener
	err = within(netns, func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return "", nil, err
	}
	address = "https://" + l.Addr().String()
	srv := &http.Server{ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: handler(address)}
	go func() { _ = srv.ServeTLS(l, "", "") }() // it ends with Close
	return address, func() { _ = srv.Close() }, nil
}

// mirror starts an image server for a script.
func mirror(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mirror VARIABLE DIR")
	}
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o755))
	address, stop, err := Serve(ts.Getenv("NETNS"), ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv(args[0], address)
}

// streamsTree writes the files of an image server.
func streamsTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tree DIR NAME=VALUE … META [ROOT] [-- …]")
	}
	words := args[1:]
	for i, w := range words {
		if !strings.Contains(w, "=") && w != "--" {
			words[i] = ts.MkAbs(w)
		}
	}
	images, err := tree.Parse(words)
	ts.Check(err)
	ts.Check(tree.Write(ts.MkAbs(args[0]), images))
}
