package oidc_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/test/issuer"
)

func TestFirstCallMakesAnIdentityWithoutRights(t *testing.T) {
	w := newWorld(t)
	id, err := w.show(t, w.access(t, alice))
	if err != nil || id.Kind != auth.OIDC || id.Name != "alice@example.org" || id.Admin || !id.FineGrained || id.Session || len(id.Groups) > 0 {
		t.Fatalf("%+v %v", id, err)
	}
	rec, err := w.identities.Find(t.Context(), "oidc", "alice@example.org")
	if err != nil || rec.Name != "Alice" || rec.Subject != "s-alice" || rec.Type != "OIDC client" {
		t.Fatalf("%+v %v", rec, err)
	}
	if _, err := w.show(t, w.access(t, alice)); err != nil {
		t.Error("it did not come twice:", err)
	}
}

func TestGroupsOfTheIssuer(t *testing.T) {
	w := newWorld(t)
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		err := identity.GroupCollection.Insert(tx, identity.Group{Name: "admins", Permissions: []model.Permission{{Entity: "server", URL: "/1.0", Entitlement: "admin"}}})
		return errors.Join(err, identity.ProviderGroupCollection.Insert(tx, identity.ProviderGroup{Name: "ops", Groups: []string{"admins"}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bare  bool
		claim string
		admin bool
	}{"in the token": {false, "groups", true}, "to be asked for": {true, "groups", true}, "another claim": {false, "roles", false}, "none": {false, "", false}} {
		w.issuer.Bare = c.bare
		w.set("oidc.groups.claim", c.claim)
		if id, err := w.show(t, w.access(t, alice)); err != nil || id.Admin != c.admin {
			t.Errorf("%s: %+v %v", name, id, err)
		}
	}
	w.set("oidc.groups.claim", "groups")
	if id, err := w.show(t, w.sign(t, map[string]any{"groups": "ops"})); err != nil || !id.Admin {
		t.Errorf("one group as a word: %+v %v", id, err)
	}
}

func TestTheIssuerIsAskedOnceForEachToken(t *testing.T) {
	w := newWorld(t)
	w.issuer.Bare = true
	text := w.access(t, alice)
	for range 3 {
		if _, err := w.show(t, text); err != nil {
			t.Fatal(err)
		}
	}
	if w.issuer.Asked("/userinfo") != 1 || w.issuer.Asked("/keys") != 1 || w.issuer.Asked("/.well-known/openid-configuration") != 1 {
		t.Error(w.issuer.Asked("/userinfo"), w.issuer.Asked("/keys"))
	}
}

// TestRefusedTokens shows what does not prove who somebody is.
func TestRefusedTokens(t *testing.T) {
	w := newWorld(t)
	other, err := issuer.New("lxd", "")
	if err != nil {
		t.Fatal(err)
	}
	other.URL = w.issuer.URL
	forged, err := other.Access(alice)
	if err != nil {
		t.Fatal(err)
	}
	plain := jwt.MapClaims{"iss": w.issuer.URL, "sub": "s-alice", "aud": "lxd", "email": "alice@example.org", "exp": time.Now().Add(time.Hour).Unix()}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, plain).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := jwt.NewWithClaims(jwt.SigningMethodHS256, plain).SignedString([]byte("hush"))
	if err != nil {
		t.Fatal(err)
	}
	good := w.access(t, alice)
	parts := strings.Split(good, ".")
	elsewhere := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","jku":"` + w.issuer.URL + `/elsewhere","kid":"x"}`))
	for what, c := range map[string]struct{ token, why string }{
		"another's key":          {forged, "not valid"},
		"no signature":           {none, "not valid"},
		"signed with the secret": {hmac, "not valid"},
		"cut":                    {parts[0] + "." + parts[1] + ".", "not valid"},
		"changed":                {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+w.issuer.URL+`"}`)) + "." + parts[2], "not valid"},
		"keys from elsewhere":    {elsewhere + "." + parts[1] + "." + parts[2], "not valid"},
		"nonsense":               {"a.b.c", "not valid"},
		"long":                   {strings.Repeat("a", 40<<10), "too long"},
		"another issuer":         {w.sign(t, map[string]any{"iss": "https://login.example.org"}), "not valid"},
		"expired":                {w.sign(t, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), "expired"},
		"no end":                 {w.sign(t, map[string]any{"exp": nil}), "expired"},
		"not yet":                {w.sign(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "not valid"},
		"another client":         {w.sign(t, map[string]any{"azp": "shop", "aud": "shop"}), "audience"},
		"no client":              {w.sign(t, map[string]any{"azp": nil}), "audience"},
		"nobody":                 {w.sign(t, map[string]any{"sub": nil}), "not valid"},
		"unverified":             {w.sign(t, map[string]any{"email_verified": false}), "verified"},
		"unverified, as text":    {w.sign(t, map[string]any{"email_verified": "false"}), "verified"},
		"odd address":            {w.sign(t, map[string]any{"email": "alice@example.org/../bob"}), "name"},
		"no address at all":      {w.sign(t, map[string]any{"email": "alice"}), "name"},
		"odd groups":             {w.sign(t, map[string]any{"groups": map[string]any{"a": 1}}), "malformed"},
		"too many groups":        {w.sign(t, map[string]any{"groups": make([]string, 1001)}), "malformed"},
	} {
		w.limit = limit.Limiter{}
		id, err := w.show(t, c.token)
		if err == nil || rest.StatusOf(err) != http.StatusUnauthorized || !strings.Contains(err.Error(), c.why) || id.Trusted() {
			t.Errorf("%s: %+v %v", what, id, err)
		}
	}
	if n := w.issuer.Asked("/elsewhere"); n != 0 {
		t.Error("a token had the server ask somewhere else")
	}
	if n := w.issuer.Asked("/keys"); n > 2 {
		t.Errorf("forged tokens had the server read the keys %d times", n)
	}
	if all, err := w.identities.List(t.Context(), "oidc"); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

func TestGuessingIsHeldBack(t *testing.T) {
	w := newWorld(t)
	good := w.access(t, alice)
	if _, err := w.show(t, good); err != nil {
		t.Fatal(err)
	}
	var err error
	for range limit.Tries + 1 {
		_, err = w.show(t, "a.b.c")
	}
	if !errors.Is(err, limit.ErrTooMany) {
		t.Error(err)
	}
	if _, err := w.show(t, good); err != nil {
		t.Error("the others at that address are shut out:", err)
	}
}

func TestAudience(t *testing.T) {
	w := newWorld(t)
	w.set("oidc.audience", "https://lxd.example.org")
	if _, err := w.show(t, w.access(t, alice)); err == nil {
		t.Error("a token for nobody in particular was accepted")
	}
	w.issuer.Audience = "https://lxd.example.org"
	if _, err := w.show(t, w.access(t, alice)); err != nil {
		t.Error(err)
	}
}

func TestOneAddressBelongsToOnePerson(t *testing.T) {
	w := newWorld(t)
	if _, err := w.show(t, w.access(t, alice)); err != nil {
		t.Fatal(err)
	}
	mallory := alice
	mallory.Subject = "s-mallory"
	if _, err := w.show(t, w.access(t, mallory)); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Error(err)
	}
	mallory.Email, mallory.Name = "mallory@example.org", "alice@example.org"
	if id, err := w.show(t, w.access(t, mallory)); err != nil || id.Name != "mallory@example.org" {
		t.Error(id, err)
	}
	if rec, err := w.identities.Find(t.Context(), "oidc", "alice@example.org"); err != nil || rec.Subject != "s-alice" {
		t.Error("somebody is called by the address of another:", rec, err)
	}
}

func TestKeysThatChange(t *testing.T) {
	w := newWorld(t)
	old := w.access(t, alice)
	if _, err := w.show(t, old); err != nil {
		t.Fatal(err)
	}
	if err := w.issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.show(t, old); err != nil {
		t.Error("a key is forgotten at once:", err)
	}
}

// TestUnknownKeysHoldUpNobody: while the issuer is slow to tell of a key that nobody knows, those with known ones go on.
func TestUnknownKeysHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.show(t, w.access(t, alice)); err != nil {
		t.Fatal(err)
	}
	known := w.sign(t, map[string]any{"jti": "another"})
	if err := w.issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	unknown := w.access(t, alice)
	time.Sleep(5100 * time.Millisecond) // the keys are not read more often than that
	asked := make(chan struct{})
	w.hold.Store(&asked)
	slow := make(chan error, 2)
	for range 2 {
		go func() {
			_, _, err := w.Identify(shown(unknown))
			slow <- err
		}()
	}
	<-asked
	begun := time.Now()
	if _, err := w.show(t, known); err != nil || time.Since(begun) > 2*time.Second {
		t.Error(err, time.Since(begun))
	}
	for range 2 {
		if err := <-slow; !errs.Is(err, errs.Unavailable) {
			t.Error(err)
		}
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Error("one waited for the other:", took)
	}
}

func TestAnIssuerThatIsAway(t *testing.T) {
	w := newWorld(t)
	known := w.access(t, alice)
	if _, err := w.show(t, known); err != nil {
		t.Fatal(err)
	}
	w.issuer.Break(true)
	if _, err := w.show(t, known); err != nil {
		t.Error("the keys are not kept:", err)
	}
	w.issuer.Break(false)

	w = newWorld(t)
	w.issuer.Break(true)
	begun := time.Now()
	for range limit.Tries + 5 {
		if _, err := w.show(t, w.access(t, alice)); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "oidc.issuer") || strings.Contains(err.Error(), w.issuer.URL) {
			t.Fatal(err)
		}
	}
	if n := w.issuer.Asked("/.well-known/openid-configuration"); n != 1 || time.Since(begun) > 3*time.Second {
		t.Errorf("asked %d times in %s", n, time.Since(begun))
	}
	if _, _, err := w.Identify(shown("")); err != nil {
		t.Error("those without a token notice:", err)
	}
}

func TestSettingsWorkAtOnce(t *testing.T) {
	w := newWorld(t)
	text := w.access(t, alice)
	if _, err := w.show(t, text); err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	w.Announce(t.Context(), h)
	if h.Get("X-LXD-OIDC-issuer") != w.issuer.URL || h.Get("X-LXD-OIDC-clientid") != "lxd" || h.Get("X-LXD-OIDC-groups-claim") != "groups" ||
		h.Get("X-LXD-OIDC-scopes") != `["openid","email","offline_access","profile"]` || strings.Contains(strings.Join(h["X-Lxd-Oidc-Clientid"], ""), "hush") {
		t.Error(h)
	}
	w.set("oidc.client.id", "another")
	if _, err := w.show(t, text); err == nil {
		t.Error("a token for the client of before is accepted")
	}
	w.set("oidc.client.id", "")
	if id, handled, err := w.Identify(shown(text)); handled || err != nil || id.Trusted() {
		t.Error(id, handled, err)
	}
	h = http.Header{}
	if w.Announce(t.Context(), h); len(h) != 0 {
		t.Error(h)
	}
}
