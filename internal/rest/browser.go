package rest

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lxd/internal/auth"
	"lxd/internal/errs"
)

// fromBrowser refuses what a hostile web page can make a browser send: it would carry the user's certificate.
func fromBrowser(r *http.Request, route *Route) error {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		if route.linked && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
			return nil
		}
		return errOtherSite
	case "":
		// Browsers from before that header was made say at least where a page is from that changes things, or listens.
		if origin := r.Header.Get("Origin"); origin != "" && strings.HasPrefix(r.UserAgent(), "Mozilla") && !reads(r) && !own(r, origin) {
			return errOtherSite
		}
	}
	return nil
}

var errOtherSite = errs.Newf(errs.Forbidden, "request from another web site is not allowed")

// reads tells whether a request is over when it is answered, and changes nothing.
func reads(r *http.Request) bool {
	upgrade := r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && !upgrade
}

// own tells whether pages of that origin are this server's.
func own(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "https" && strings.EqualFold(u.Host, r.Host)
}

// inSession refuses what a browser with the cookie of a session was led into by another site. Whatever has effects must say that it
// comes from a page of this server: every browser does, and what says nothing has no business with such a cookie.
func inSession(r *http.Request, id auth.Identity) error {
	if !id.Session || reads(r) {
		return nil
	}
	ours := r.Header.Get("Sec-Fetch-Site") == "same-origin"
	if origin := r.Header.Get("Origin"); origin != "" {
		ours = own(r, origin)
	}
	if !ours {
		return errOtherSite
	}
	return nil
}

// bodyType refuses bodies of browsers that are not of a type which a plain web form cannot send.
func bodyType(r *http.Request, route *Route, id auth.Identity) error {
	if r.ContentLength == 0 || !id.Session && !strings.HasPrefix(r.UserAgent(), "Mozilla") {
		return nil
	}
	allowed := []string{"application/json"}
	if route.Kind == RawKind {
		allowed = append(allowed, octets, "multipart/form-data")
	}
	if route.uploads {
		allowed = append(allowed, octets)
	}
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(allowed, typ) {
		return WithStatus(http.StatusUnsupportedMediaType,
			errs.Newf(errs.Invalid, "content type %q is not allowed here: send %s", r.Header.Get("Content-Type"), strings.Join(allowed, " or ")))
	}
	return nil
}
