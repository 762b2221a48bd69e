package harness

import (
	"net/http"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/test/issuer"
)

// issuersKey finds the OpenID Connect providers of a script by their addresses, in the script's values.
type issuersKey struct{}

// startIssuer starts an OpenID Connect provider for a script. Its client is "lxd", with the secret "hush".
func startIssuer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "bare" {
		ts.Fatalf("usage: issuer VARIABLE [bare]")
	}
	i, err := issuer.New("lxd", "hush")
	ts.Check(err)
	i.Bare = len(args) == 2
	address, stop, err := serve(ts.Getenv("NETNS"), func(address string) http.Handler { i.URL = address; return i })
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv(args[0], address)
	ts.Value(issuersKey{}).(map[string]*issuer.Issuer)[address] = i
}

// signIn says who is signed in at a provider from now on.
func signIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: person ISSUER [EMAIL [NAME [GROUP …]]]")
	}
	i := ts.Value(issuersKey{}).(map[string]*issuer.Issuer)[args[0]]
	if i == nil {
		ts.Fatalf("there is no issuer %s", args[0])
	}
	if len(args) == 1 {
		i.SignIn(nil)
		return
	}
	p := issuer.Person{Subject: "subject of " + args[1], Email: args[1]}
	if len(args) > 2 {
		p.Name, p.Groups = args[2], args[3:]
	}
	i.SignIn(&p)
}

// breakIssuer has a provider answer nothing but errors, or ends that.
func breakIssuer(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] broken ISSUER")
	}
	i := ts.Value(issuersKey{}).(map[string]*issuer.Issuer)[args[0]]
	if i == nil {
		ts.Fatalf("there is no issuer %s", args[0])
	}
	i.Break(!neg)
}
