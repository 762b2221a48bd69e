// Package acmetest is a small authority that speaks ACME, for tests: it looks at signatures, nonces, accounts and challenges as real ones do.
package acmetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Authority answers ACME requests. It is an http.Handler.
type Authority struct {
	// Fetch gets what is at a path of a domain, as the authority sees it.
	Fetch func(ctx context.Context, domain, path string) (string, error)
	// Life is how long certificates are good for.
	Life time.Duration

	mu       sync.Mutex
	base     string
	key      *ecdsa.PrivateKey
	root     *x509.Certificate
	nonces   map[string]bool
	accounts map[string]*account
	orders   map[string]*order
	issued   int
	down     bool
}

// account is a client, by the digest of its key.
type account struct {
	key     *ecdsa.PublicKey
	thumb   string
	Contact []string `json:"contact"`
	Status  string   `json:"status"`
}

// order is one certificate on its way.
type order struct {
	of, domain, token string
	status, authz     string
	problem           string
	chain             []byte
}

// New makes an authority whose addresses begin with base.
func New(base string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ACME authority of tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	a := &Authority{base: base, key: key, Life: 90 * 24 * time.Hour, nonces: map[string]bool{}, accounts: map[string]*account{}, orders: map[string]*order{}}
	a.root, err = x509.ParseCertificate(der)
	return a, err
}

// Root is its own certificate.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Roots are what its certificates are trusted by.
func (a *Authority) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.root)
	return p
}

// Issued is how many certificates it has signed.
func (a *Authority) Issued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued
}

// Contacts are the addresses that the accounts gave.
func (a *Authority) Contacts() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, acc := range a.accounts {
		all = append(all, acc.Contact...)
	}
	return all
}

// Break has it refuse everything, or work again.
func (a *Authority) Break(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

// Directory is the address to give to clients.
func (a *Authority) Directory() string { return a.base + "/dir" }

// Serve answers on l until stop is called.
func (a *Authority) Serve(l net.Listener) (stop func()) {
	srv := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }() // it ends with Close
	return func() { _ = srv.Close() }
}

// ServeHTTP answers one request.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	nonce := rand.Text()
	a.nonces[nonce] = true
	w.Header().Set("Replay-Nonce", nonce)
	w.Header().Set("Cache-Control", "no-store")
	if a.down {
		refuse(w, http.StatusForbidden, "unauthorized", "the authority is out of order")
		return
	}
	switch r.URL.Path {
	case "/dir":
		reply(w, http.StatusOK, map[string]any{"newNonce": a.base + "/nonce", "newAccount": a.base + "/account", "newOrder": a.base + "/order",
			"meta": map[string]any{"termsOfService": a.base + "/terms"}})
		return
	case "/nonce":
		return
	}
	m, err := a.open(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed", err.Error())
		return
	}
	a.route(w, r, m)
}

func (a *Authority) route(w http.ResponseWriter, r *http.Request, m *message) {
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case kind == "account":
		a.account(w, m, id)
		return
	case m.who == nil:
		refuse(w, http.StatusBadRequest, "accountDoesNotExist", "no such account")
		return
	case kind == "order" && id == "":
		a.newOrder(w, m)
		return
	}
	o := a.orders[id]
	if o == nil || o.of != m.who.thumb {
		refuse(w, http.StatusNotFound, "malformed", "no such order")
		return
	}
	switch kind {
	case "order":
		reply(w, http.StatusOK, a.order(id, o))
	case "authz":
		reply(w, http.StatusOK, a.authz(id, o))
	case "challenge":
		a.challenge(w, r, m, id)
	case "finalize":
		a.finalize(w, m, id, o)
	case "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(o.chain)
	default:
		http.NotFound(w, r)
	}
}

// message is a request whose signature is good.
type message struct {
	payload []byte
	key     *ecdsa.PublicKey
	thumb   string
	// who is nil for one that is not known.
	who *account
}

// open checks the signature, the nonce and the address of a request.
func (a *Authority) open(r *http.Request) (*message, error) {
	var jws struct{ Protected, Payload, Signature string }
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&jws); err != nil {
		return nil, err
	}
	var head struct {
		Alg, Kid, Nonce, URL string
		JWK                  *struct{ Crv, Kty, X, Y string }
	}
	b, err := unpack(jws.Protected)
	if err == nil {
		err = json.Unmarshal(b, &head)
	}
	if err != nil {
		return nil, err
	}
	if !a.nonces[head.Nonce] || head.URL != a.base+r.URL.Path || head.Alg != "ES256" {
		return nil, fmt.Errorf("nonce, url or alg are wrong: %+v", head)
	}
	delete(a.nonces, head.Nonce)
	m := &message{who: a.accounts[strings.TrimPrefix(head.Kid, a.base+"/account/")]}
	switch {
	case head.JWK != nil:
		if m.key, err = publicKey(head.JWK.X, head.JWK.Y); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, head.JWK.Crv, head.JWK.Kty, head.JWK.X, head.JWK.Y))
		m.thumb = base64.RawURLEncoding.EncodeToString(sum[:])
	case m.who != nil:
		m.key, m.thumb = m.who.key, m.who.thumb
	default:
		return m, nil
	}
	signature, err := unpack(jws.Signature)
	if err != nil || len(signature) != 64 {
		return nil, fmt.Errorf("signature of %d bytes: %w", len(signature), err)
	}
	sum := sha256.Sum256([]byte(jws.Protected + "." + jws.Payload))
	if !ecdsa.Verify(m.key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return nil, errors.New("the signature is wrong")
	}
	m.payload, err = unpack(jws.Payload)
	return m, err
}

func unpack(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

func publicKey(x, y string) (*ecdsa.PublicKey, error) {
	bx, err := unpack(x)
	by, e := unpack(y)
	if err = errors.Join(err, e); err != nil {
		return nil, err
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, bx...), by...))
}

func (a *Authority) account(w http.ResponseWriter, m *message, id string) {
	var in struct {
		Contact              []string
		TermsOfServiceAgreed bool
		OnlyReturnExisting   bool
	}
	if len(m.payload) > 0 {
		if err := json.Unmarshal(m.payload, &in); err != nil {
			refuse(w, http.StatusBadRequest, "malformed", err.Error())
			return
		}
	}
	acc, status := a.accounts[m.thumb], http.StatusOK
	switch {
	case acc != nil && id != "" && in.Contact != nil:
		acc.Contact = in.Contact
	case acc != nil:
	case in.OnlyReturnExisting:
		refuse(w, http.StatusBadRequest, "accountDoesNotExist", "no such account")
		return
	case !in.TermsOfServiceAgreed:
		refuse(w, http.StatusForbidden, "userActionRequired", "the terms are not agreed to")
		return
	default:
		acc, status = &account{key: m.key, thumb: m.thumb, Contact: in.Contact, Status: "valid"}, http.StatusCreated
		a.accounts[m.thumb] = acc
	}
	w.Header().Set("Location", a.base+"/account/"+m.thumb)
	reply(w, status, acc)
}

func (a *Authority) newOrder(w http.ResponseWriter, m *message) {
	var in struct {
		Identifiers []struct{ Type, Value string }
	}
	if err := json.Unmarshal(m.payload, &in); err != nil || len(in.Identifiers) != 1 || in.Identifiers[0].Type != "dns" {
		refuse(w, http.StatusBadRequest, "malformed", "one name is what is asked for")
		return
	}
	if strings.HasSuffix(in.Identifiers[0].Value, ".invalid") {
		refuse(w, http.StatusForbidden, "rejectedIdentifier", "this name gets no certificate")
		return
	}
	id := rand.Text()
	o := &order{of: m.thumb, domain: in.Identifiers[0].Value, token: rand.Text(), status: "pending", authz: "pending"}
	a.orders[id] = o
	w.Header().Set("Location", a.base+"/order/"+id)
	reply(w, http.StatusCreated, a.order(id, o))
}

func (a *Authority) order(id string, o *order) map[string]any {
	return map[string]any{"status": o.status, "identifiers": []any{map[string]any{"type": "dns", "value": o.domain}}, "authorizations": []string{a.base + "/authz/" + id},
		"finalize": a.base + "/finalize/" + id, "certificate": a.base + "/certificate/" + id}
}

func (a *Authority) authz(id string, o *order) map[string]any {
	challenge := map[string]any{"type": "http-01", "url": a.base + "/challenge/" + id, "token": o.token, "status": o.authz}
	if o.problem != "" {
		challenge["error"] = map[string]any{"type": "urn:ietf:params:acme:error:unauthorized", "detail": o.problem}
	}
	return map[string]any{"status": o.authz, "identifier": map[string]any{"type": "dns", "value": o.domain},
		"challenges": []any{map[string]any{"type": "dns-01", "url": a.base + "/challenge/" + id + "/dns", "token": o.token, "status": o.authz}, challenge}}
}

// challenge looks whether the domain knows the answer. It is not locked meanwhile, since the answer comes from its client.
func (a *Authority) challenge(w http.ResponseWriter, r *http.Request, m *message, id string) {
	o := a.orders[id]
	domain, token := o.domain, o.token
	a.mu.Unlock()
	got, err := a.Fetch(r.Context(), domain, "/.well-known/acme-challenge/"+token)
	a.mu.Lock()
	o.status, o.authz = "ready", "valid"
	if err != nil || got != token+"."+m.thumb {
		o.status, o.authz, o.problem = "invalid", "invalid", fmt.Sprintf("got %q: %v", got, err)
	}
	reply(w, http.StatusOK, map[string]any{"type": "http-01", "url": a.base + "/challenge/" + id, "token": token, "status": o.authz})
}

func (a *Authority) finalize(w http.ResponseWriter, m *message, id string, o *order) {
	var in struct{ CSR string }
	err := json.Unmarshal(m.payload, &in)
	der, e := unpack(in.CSR)
	csr, e2 := x509.ParseCertificateRequest(der)
	if err := errors.Join(err, e, e2); err != nil || csr.CheckSignature() != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != o.domain || o.status != "ready" {
		refuse(w, http.StatusForbidden, "badCSR", fmt.Sprint("status ", o.status, ": ", err))
		return
	}
	a.issued++
	leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(a.issued + 1)), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(a.Life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	made, err := x509.CreateCertificate(rand.Reader, leaf, a.root, csr.PublicKey, a.key)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "serverInternal", err.Error())
		return
	}
	o.status = "processing" // as real ones, which say so without telling the address again
	o.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	reply(w, http.StatusOK, a.order(id, o))
	o.status = "valid"
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who went away needs no answer
}

func refuse(w http.ResponseWriter, status int, kind, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status})
}
