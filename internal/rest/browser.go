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
		return errs.Newf(errs.Forbidden, "request from another web site is not allowed")
	}
	return nil
}

// inSession refuses what a browser with the cookie of a session was led into by another site. Whatever has effects must say that it
// comes from a page of this server: every browser does, and what says nothing has no business with such a cookie.
func inSession(r *http.Request, id auth.Identity) error {
	upgrade := r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
	if !id.Session || (r.Method == http.MethodGet || r.Method == http.MethodHead) && !upgrade {
		return nil
	}
	own := r.Header.Get("Sec-Fetch-Site") == "same-origin"
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		own = err == nil && u.Scheme == "https" && u.Host == r.Host
	}
	if !own {
		return errs.Newf(errs.Forbidden, "request from another web site is not allowed")
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
