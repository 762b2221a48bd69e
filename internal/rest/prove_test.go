package rest_test

import (
	"net/http"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

// TestStrangersMayNotGuessForEver has a door that opens to a secret, or to those who are known.
func TestStrangersMayNotGuessForEver(t *testing.T) {
	s := newServer(t)
	s.Limit = &limit.Limiter{}
	who := auth.Identity{}
	s.Auth = func(*http.Request) (auth.Identity, error) { return who, nil }
	h := s.Handler([]rest.Route{rest.Raw("GET /door", auth.Public, func(_ http.ResponseWriter, c *rest.Call) error {
		secret := c.Param("secret")
		return c.Prove(secret, func() error {
			if secret != "sesame" {
				return errs.Newf(errs.Forbidden, "wrong")
			}
			return nil
		})
	}).Reads("secret")})
	open := func(secret string) int { return do(h, "GET", "/door?secret="+secret, "").Code }
	for range 2 * limit.Tries {
		if code := open(""); code != 403 {
			t.Fatal("no secret is no guess", code)
		}
	}
	for range limit.Tries {
		if code := open("guess"); code != 403 {
			t.Fatal(code)
		}
	}
	if code := open("sesame"); code != 429 {
		t.Error("after so many guesses", code)
	}
	who = auth.Identity{Kind: auth.TLS, Name: "me"}
	for range 2 * limit.Tries {
		if code := open("guess"); code != 403 {
			t.Error("someone known is held back", code)
		}
	}
	if code := open("sesame"); code != 200 {
		t.Error("someone known is held back", code)
	}
}
