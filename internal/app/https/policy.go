package https

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"lxd/internal/schema"
)

// Policy is whom the server believes and what it tells browsers.
type Policy struct {
	// Proxies may say, by the PROXY protocol, whose connection they pass on.
	Proxies []netip.Addr
	// Origin is the web site, or "*", whose pages may use the API; Methods and Headers are what they may send. Credentials lets their
	// requests carry the user's certificate.
	Origin, Methods, Headers string
	Credentials              bool
}

// Keys of the configuration that make up the policy.
const (
	proxyKey       = "core.https_trusted_proxy"
	originKey      = "core.https_allowed_origin"
	methodsKey     = "core.https_allowed_methods"
	headersKey     = "core.https_allowed_headers"
	credentialsKey = "core.https_allowed_credentials"
)

// PolicyOf reads the policy from a configuration that was validated.
func PolicyOf(config map[string]string) Policy {
	p := Policy{Origin: config[originKey], Methods: config[methodsKey], Headers: config[headersKey], Credentials: schema.IsTrue(config[credentialsKey])}
	for text := range strings.SplitSeq(config[proxyKey], ",") {
		if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			p.Proxies = append(p.Proxies, a)
		}
	}
	return p
}

// SetPolicy changes the policy for connections and requests from now on.
func (s *Server) SetPolicy(p Policy) { s.policy.Store(&p) }

// announced tells whether the other end is a proxy that may speak for others.
func (s *Server) announced(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return false
	}
	a, _ := netip.AddrFromSlice(tcp.IP)
	return slices.Contains(s.policy.Load().Proxies, a.Unmap())
}

// sharing tells browsers what pages of other sites may do. It grants nothing by itself: the checks of each request stay.
func (s *Server) sharing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, origin := s.policy.Load(), r.Header.Get("Origin")
		if origin != "" && p.Origin != "" && (p.Origin == "*" || p.Origin == origin) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", p.Origin)
			h.Add("Vary", "Origin")
			setIf(h, "Access-Control-Allow-Methods", p.Methods)
			setIf(h, "Access-Control-Allow-Headers", p.Headers)
			if p.Credentials {
				h.Set("Access-Control-Allow-Credentials", "true")
			}
		}
		next.ServeHTTP(w, r)
	})
}

func setIf(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}
