package challenge_test

import (
	"net/http/httptest"
	"testing"

	"lxd/internal/endpoint/challenge"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

func TestChallenge(t *testing.T) {
	s := &rest.Server{}
	s.SetPhase(rest.Serving)
	h := s.Handler(challenge.Routes(func(token string) (string, error) {
		if token != "known" {
			return "", errs.Newf(errs.NotFound, "no such challenge")
		}
		return token + ".thumb", nil
	}))
	for path, want := range map[string]struct {
		code int
		body string
	}{"known": {200, "known.thumb"}, "other": {404, ""}, "..%2fknown": {404, ""}, "known/x": {404, ""}} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/acme-challenge/"+path, nil))
		if w.Code != want.code || want.code == 200 && (w.Body.String() != want.body || w.Header().Get("Content-Type") != "text/plain") {
			t.Error(path, w.Code, w.Body)
		}
	}
}
