package harness

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
)

// Proxy listens at a socket and hands everything on to the daemon at another one, so that the Conformity sees it. The returned
// function ends it.
func (c *Conformity) Proxy(socket, daemon string) (func(), error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", daemon)
	}}
	s := &http.Server{Handler: c.Around(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "lxd"
			r.Out.URL.RawQuery = r.In.URL.RawQuery // also what Go takes for malformed
		},
		Transport: transport, FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as a daemon that is gone
	})}
	go func() { _ = s.Serve(l) }() // ends with Close
	return func() { _ = s.Close() }, nil
}
