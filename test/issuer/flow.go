package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
)

// authorize is where a browser is sent: it comes back with a code, or with the word that nobody is signed in.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("client_id") != i.ClientID || q.Get("response_type") != "code" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	out := url.Values{"state": {q.Get("state")}}
	if i.person == nil {
		out.Set("error", "access_denied")
		out.Set("error_description", "nobody is signed in")
	} else {
		code := rand.Text()
		i.grants[code] = grant{person: *i.person, nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), redirect: back.String()}
		out.Set("code", code)
	}
	back.RawQuery = out.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// device begins the flow of a program without a browser.
func (i *Issuer) device(w http.ResponseWriter, r *http.Request) {
	if !i.known(r) {
		refuse(w, "invalid_client")
		return
	}
	code := rand.Text()
	i.devices[code] = r.PostFormValue("scope")
	answer(w, http.StatusOK, map[string]any{"device_code": code, "user_code": code[:8], "verification_uri": i.URL + "/device",
		"verification_uri_complete": i.URL + "/device?user_code=" + code[:8], "expires_in": 300, "interval": 1})
}

// known tells whether the request comes from the client.
func (i *Issuer) known(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	return id == i.ClientID && (secret == i.ClientSecret || secret == "" && r.PostFormValue("grant_type") != "authorization_code")
}

// token gives tokens for a code, or for a token that renews.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	if !i.known(r) {
		refuse(w, "invalid_client")
		return
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		i.redeem(w, r)
	case "urn:ietf:params:oauth:grant-type:device_code":
		i.poll(w, r)
	case "refresh_token":
		p, ok := i.renewal[r.PostFormValue("refresh_token")]
		if !ok {
			refuse(w, "invalid_grant")
			return
		}
		delete(i.renewal, r.PostFormValue("refresh_token"))
		i.give(w, p, "")
	default:
		refuse(w, "unsupported_grant_type")
	}
}

// redeem holds the code of a browser against what the browser was sent with.
func (i *Issuer) redeem(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	g, ok := i.grants[code]
	delete(i.grants, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || g.redirect != r.PostFormValue("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		refuse(w, "invalid_grant")
		return
	}
	i.give(w, g.person, g.nonce)
}

// poll is how a device asks whether somebody let it in.
func (i *Issuer) poll(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("device_code")
	switch _, ok := i.devices[code]; {
	case !ok:
		refuse(w, "invalid_grant")
	case i.person == nil:
		refuse(w, "authorization_pending")
	default:
		delete(i.devices, code)
		i.give(w, *i.person, "")
	}
}

// give sends a set of tokens.
func (i *Issuer) give(w http.ResponseWriter, p Person, nonce string) {
	access, err := i.access(p)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	claims := i.claims(p)
	if nonce != "" {
		claims["nonce"] = nonce
	}
	id, err := i.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	renew := rand.Text()
	i.renewal[renew] = p
	answer(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(i.Life.Seconds()),
		"id_token": id, "refresh_token": renew})
}

func refuse(w http.ResponseWriter, why string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": why})
}
