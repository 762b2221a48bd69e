package access

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity/bearer"
	"lxd/internal/identity/oidc"
	"lxd/internal/rest"
)

// Browser is the routes that people open: signing in and out, and the user interface, whose files are in the folder ui ("" is none).
func Browser(issuer *oidc.Service, bearers *bearer.Service, ui string) []rest.Route {
	h := browser{bearers, ui}
	raw := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) rest.Route {
		return rest.Raw(pattern, auth.Public, func(w http.ResponseWriter, c *rest.Call) error {
			protect(w.Header())
			return serve(w, c.Request)
		}).Global()
	}
	sent, seeOther := rest.Body{Status: http.StatusFound, Media: html}, rest.Body{Status: http.StatusSeeOther, Media: html}
	all := []rest.Route{
		raw("GET /oidc/login", issuer.Login).Answers(sent), raw("GET /oidc/logout", issuer.Logout).Answers(sent),
		raw("GET /oidc/callback", issuer.Callback).Linked().Reads("code", "state", "error", "error_description").Answers(sent),
	}
	for _, pattern := range []string{"GET /ui", "GET /ui/", "GET /ui/{path...}"} {
		all = append(all, raw(pattern, h.serve).Linked().Reads("token").Answers(seeOther, rest.Body{Media: html}))
	}
	return all
}

// html is what browsers show.
const html = "text/html"

type browser struct {
	bearers *bearer.Service
	ui      string
}

// protect keeps pages out of frames of other sites, and their addresses, in which there can be a token, from those that they link to.
func protect(h http.Header) {
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "frame-ancestors 'none'")
}

// serve shows the user interface. A link with a token first becomes a session, so that the token is no longer in the address.
func (h browser) serve(w http.ResponseWriter, r *http.Request) error {
	if token := r.URL.Query().Get("token"); token != "" {
		cookie, err := h.bearers.Redeem(r.Context(), token, r.RemoteAddr)
		if err != nil {
			return err
		}
		http.SetCookie(w, cookie)
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, "/ui/", http.StatusSeeOther)
		return nil
	}
	if h.ui == "" {
		return errs.Newf(errs.NotFound, "no user interface is installed here: set LXD_UI in the daemon's environment to the folder with its files")
	}
	return h.file(w, r)
}

// file sends a file of the user interface; addresses that are no files belong to its first page.
func (h browser) file(w http.ResponseWriter, r *http.Request) error {
	root, err := os.OpenRoot(h.ui)
	if err != nil {
		return err
	}
	defer root.Close()
	name := strings.TrimPrefix(path.Clean("/"+strings.TrimPrefix(r.PathValue("path"), "/")), "/")
	f, info, err := open(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		name = "index.html"
		f, info, err = open(root, name)
	}
	if err != nil {
		return errs.Newf(errs.NotFound, "the user interface has no such page")
	}
	defer f.Close()
	http.ServeContent(w, r, name, info.ModTime(), f)
	return nil
}

// open opens a plain file.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	if name == "" {
		return nil, nil, fs.ErrNotExist
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close() // it was only looked at
	}
	return f, info, err
}
