package app_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"lxd/internal/app"
	"lxd/internal/rest"
)

// published is what the published table says of each route: the right that it asks for, and whether strangers may call it.
func published(t *testing.T) map[string][2]string {
	t.Helper()
	b, err := os.ReadFile("../../spec/endpoints.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][2]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) < 12 {
			t.Fatalf("%q has %d columns", line, len(f))
		}
		rows[comparable(f[0]+" "+f[1])] = [2]string{f[11], f[10]}
	}
	return rows
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

func comparable(pattern string) string { return parameter.ReplaceAllString(pattern, "{}") }

// others are the routes that declare something else than the table, and why.
var others = map[string]struct{ access, why string }{
	"GET /1.0/metrics":                    {"public", "the server may be configured to show them to everybody, and certificates for metrics open nothing else: the handler decides"},
	"GET /1.0/auth/oidc-sessions/{id}":    {"authenticated", "what is seen is decided by whose session it is: the handler looks at its identity"},
	"DELETE /1.0/auth/oidc-sessions/{id}": {"authenticated", "who ends it is decided by whose session it is: the handler looks at its identity"},
	"GET /1.0/images":                     {"public", "strangers see the public ones of the default project: the handler leaves out the others"},
}

// TestAccessIsThatOfTheTable holds what each route asks of its caller against the published table.
func TestAccessIsThatOfTheTable(t *testing.T) {
	rows := published(t)
	for _, table := range app.Routes() {
		for _, r := range table {
			row, ok := rows[comparable(r.Pattern)]
			if !ok {
				if r.Access.Open() && !strings.HasPrefix(r.Pattern, "GET ") && !strings.HasPrefix(r.Pattern, "HEAD ") {
					t.Errorf("%s is not in the table, and open to strangers", r.Pattern)
				}
				continue
			}
			declared := r.Access.String()
			if o, ok := others[r.Pattern]; ok {
				if o.access != declared || o.why == "" {
					t.Errorf("%s: asks for %q, and the list of others says %q", r.Pattern, declared, o.access)
				}
				continue
			}
			if !same(r, row[0], row[1]) {
				t.Errorf("%s: asks for %q, the table for %q (strangers: %s)", r.Pattern, declared, row[0], row[1])
			}
		}
	}
}

// same tells whether a route asks for what the table says. A list that the table has filtered asks for the right on each item.
func same(r rest.Route, want, strangers string) bool {
	switch declared := r.Access.String(); {
	case want == "":
		return declared == "public" && strangers == "y"
	case strings.HasPrefix(want, "authenticated") && r.Kind == rest.ListKind:
		return declared == "authenticated" || r.Access.Entitlement() == "can_view"
	default:
		return declared == strings.TrimSuffix(want, "(filtered)")
	}
}
