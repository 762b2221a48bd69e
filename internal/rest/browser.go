package rest

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"lxd/internal/errs"
)

// fromBrowser refuses what a hostile web page can make a browser send: it would carry the user's certificate.
func fromBrowser(r *http.Request) error {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return errs.Newf(errs.Forbidden, "request from another web site is not allowed")
	}
	return nil
}

// bodyType refuses bodies of browsers that are not of a type which a plain web form cannot send.
func bodyType(r *http.Request, route *Route) error {
	if r.ContentLength == 0 || !strings.HasPrefix(r.UserAgent(), "Mozilla") {
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
