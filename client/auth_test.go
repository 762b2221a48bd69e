package client_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/client"
)

// recorder answers everything with metadata by path, and remembers what it was asked.
func recorder(t *testing.T, metadata map[string]any) (*client.Client, *[]string) {
	t.Helper()
	var asked []string
	c := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("If-Match")+" "+string(body)))
		reply(api.ResponseTypeSync, metadata[r.Method+" "+r.URL.Path])(w, r)
	}})
	return c, &asked
}

func TestAuthRequests(t *testing.T) {
	put := api.IdentityPut{Groups: []string{"g"}}
	for want, call := range map[string]func(context.Context, *client.Client) error{
		"GET /1.0/auth/identities?recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.Identities(ctx, "")
			return err
		},
		"GET /1.0/auth/identities/oidc?recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.Identities(ctx, "oidc")
			return err
		},
		"PUT /1.0/auth/identities/tls/a%20b e1 {\"groups\":[\"g\"],\"tls_certificate\":\"\"}": func(ctx context.Context, c *client.Client) error {
			return c.UpdateIdentity(ctx, client.IdentityPath("tls", "a b"), put, "e1")
		},
		"DELETE /1.0/auth/identities/oidc/ann@example.net": func(ctx context.Context, c *client.Client) error {
			return c.DeleteIdentity(ctx, "oidc", "ann@example.net")
		},
		"POST /1.0/auth/identities/bearer  {\"type\":\"Client token bearer\",\"name\":\"ci\",\"groups\":null}": func(ctx context.Context, c *client.Client) error {
			return c.CreateBearerIdentity(ctx, api.IdentitiesBearerPost{Type: "Client token bearer", Name: "ci"})
		},
		"DELETE /1.0/auth/identities/bearer/ci/token": func(ctx context.Context, c *client.Client) error { return c.RevokeToken(ctx, "ci") },
		"POST /1.0/auth/groups  {\"name\":\"g\",\"description\":\"d\",\"permissions\":null}": func(ctx context.Context, c *client.Client) error {
			post := api.AuthGroupsPost{}
			post.Name, post.Description = "g", "d"
			return c.CreateAuthGroup(ctx, post)
		},
		"PUT /1.0/auth/groups/g e2 {\"description\":\"d\",\"permissions\":null}": func(ctx context.Context, c *client.Client) error {
			return c.UpdateAuthGroup(ctx, "g", api.AuthGroupPut{Description: "d"}, "e2")
		},
		"POST /1.0/auth/groups/g  {\"name\":\"h\"}": func(ctx context.Context, c *client.Client) error { return c.RenameAuthGroup(ctx, "g", "h") },
		"DELETE /1.0/auth/groups/g":                 func(ctx context.Context, c *client.Client) error { return c.DeleteAuthGroup(ctx, "g") },
		"GET /1.0/auth/groups?recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.AuthGroups(ctx)
			return err
		},
		"GET /1.0/auth/identity-provider-groups?recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.IdentityProviderGroups(ctx)
			return err
		},
		"POST /1.0/auth/identity-provider-groups  {\"name\":\"p\",\"groups\":[\"g\"]}": func(ctx context.Context, c *client.Client) error {
			return c.CreateIdentityProviderGroup(ctx, api.IdentityProviderGroupsPost{Name: "p", Groups: []string{"g"}})
		},
		"PUT /1.0/auth/identity-provider-groups/p  {\"groups\":[]}": func(ctx context.Context, c *client.Client) error {
			return c.UpdateIdentityProviderGroup(ctx, "p", api.IdentityProviderGroupPut{Groups: []string{}}, "")
		},
		"POST /1.0/auth/identity-provider-groups/p  {\"name\":\"q\"}": func(ctx context.Context, c *client.Client) error {
			return c.RenameIdentityProviderGroup(ctx, "p", "q")
		},
		"DELETE /1.0/auth/identity-provider-groups/p": func(ctx context.Context, c *client.Client) error {
			return c.DeleteIdentityProviderGroup(ctx, "p")
		},
		"GET /1.0/auth/permissions?entity-type=instance&project=web&recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.Permissions(ctx, "web", "instance")
			return err
		},
		"GET /1.0/auth/permissions?recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.InProject("mine").Permissions(ctx, "", "")
			return err
		},
		"GET /1.0/auth/oidc-sessions?email=ann%40example.net&recursion=1": func(ctx context.Context, c *client.Client) error {
			_, err := c.OIDCSessions(ctx, "ann@example.net")
			return err
		},
		"DELETE /1.0/auth/oidc-sessions/s1": func(ctx context.Context, c *client.Client) error { return c.DeleteOIDCSession(ctx, "s1") },
	} {
		c, asked := recorder(t, nil)
		if err := call(t.Context(), c); err != nil || !slices.Equal(*asked, []string{want}) {
			t.Errorf("want %s\n got %v %v", want, *asked, err)
		}
	}
}

func TestAuthAnswers(t *testing.T) {
	c, _ := recorder(t, map[string]any{
		"GET /1.0/auth/identities/tls/laptop":         api.Identity{Name: "laptop", Identifier: "f"},
		"GET /1.0/auth/identities/current":            api.IdentityInfo{Identity: api.Identity{Name: "me"}, FineGrained: true},
		"GET /1.0/auth/groups/g":                      api.AuthGroup{Name: "g", Permissions: []api.Permission{{EntityType: "server", EntityReference: "/1.0", Entitlement: "admin"}}},
		"GET /1.0/auth/identity-provider-groups/p":    api.IdentityProviderGroup{Name: "p", Groups: []string{"g"}},
		"GET /1.0/auth/oidc-sessions/s1":              api.OIDCSession{UUID: "s1", Email: "ann@example.net"},
		"POST /1.0/auth/identities/bearer/ci/token":   api.IdentityBearerToken{Token: "t0"},
		"POST /1.0/auth/identities/bearer/none/token": api.IdentityBearerToken{},
		"POST /1.0/auth/identities/tls":               api.CertificateAddToken{ClientName: "laptop", Secret: "s"},
	})
	ctx := t.Context()
	if i, etag, err := c.Identity(ctx, "tls", "laptop"); err != nil || i.Identifier != "f" || etag != "tag1" {
		t.Error(i, etag, err)
	}
	if i, err := c.CurrentIdentity(ctx); err != nil || i.Name != "me" || !i.FineGrained {
		t.Error(i, err)
	}
	if g, _, err := c.AuthGroup(ctx, "g"); err != nil || g.Permissions[0].EntityReference != "/1.0" {
		t.Error(g, err)
	}
	if g, etag, err := c.IdentityProviderGroup(ctx, "p"); err != nil || g.Groups[0] != "g" || etag == "" {
		t.Error(g, err)
	}
	if s, err := c.OIDCSession(ctx, "s1"); err != nil || s.Email != "ann@example.net" {
		t.Error(s, err)
	}
	if token, err := c.IssueToken(ctx, "ci", "1d"); err != nil || token != "t0" {
		t.Error(token, err)
	}
	if _, err := c.IssueToken(ctx, "none", ""); err == nil {
		t.Error("an empty token was taken for one")
	}
	if token, err := c.CreateTLSIdentity(ctx, api.IdentitiesTLSPost{Name: "laptop", Token: true}); err != nil || token.Secret != "s" {
		t.Error(token, err)
	}
	if token, err := c.CreateTLSIdentity(ctx, api.IdentitiesTLSPost{Name: "laptop", Certificate: "x"}); err != nil || token != nil {
		t.Error(token, err)
	}
}

func TestAuthRefusals(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{"/": refuse(http.StatusForbidden, http.StatusForbidden, "no")})
	if i, etag, err := c.Identity(t.Context(), "tls", "x"); err == nil || i != nil || etag != "" {
		t.Error(i, etag, err)
	}
	if _, err := c.IssueToken(t.Context(), "x", ""); err == nil || json.Valid([]byte(err.Error())) {
		t.Error(err)
	}
	if _, err := c.CreateTLSIdentity(t.Context(), api.IdentitiesTLSPost{Token: true}); err == nil {
		t.Error("a refusal was taken for a token")
	}
}
