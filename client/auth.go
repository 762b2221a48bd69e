package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"lxd/api"
)

// read reads the object at path.
func read[T any](ctx context.Context, c *Client, path string) (*T, string, error) {
	var out T
	etag, err := c.Get(ctx, path, &out)
	if err != nil {
		return nil, "", err
	}
	return &out, etag, nil
}

// readAllOf lists the whole objects of the collection at path.
func readAllOf[T any](ctx context.Context, c *Client, path string, query url.Values) (out []T, err error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("recursion", "1")
	_, err = c.Get(ctx, path+"?"+query.Encode(), &out)
	return out, err
}

// answerTo sends body to path and reads what the server says to it.
func answerTo[T any](ctx context.Context, c *Client, path string, body any) (*T, error) {
	answer, err := c.Do(ctx, Request{Method: http.MethodPost, Path: path, Body: body})
	if err != nil {
		return nil, err
	}
	var out T
	if err := json.Unmarshal(answer.Metadata, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// IdentityPath is the URL of an identity: method is "tls", "oidc" or "bearer", the name may also be the identifier.
func IdentityPath(method, name string) string { return Path("auth", "identities", method, name) }

// Identities lists those who may call, that prove themselves by method ("tls", "oidc", "bearer"); an empty one lists all.
func (c *Client) Identities(ctx context.Context, method string) ([]api.Identity, error) {
	path := Path("auth", "identities")
	if method != "" {
		path = Path("auth", "identities", method)
	}
	return readAllOf[api.Identity](ctx, c, path, nil)
}

// Identity reads an identity, with its ETag.
func (c *Client) Identity(ctx context.Context, method, name string) (*api.Identity, string, error) {
	return read[api.Identity](ctx, c, IdentityPath(method, name))
}

// CurrentIdentity reads who the server takes the caller for, and what that one may do.
func (c *Client) CurrentIdentity(ctx context.Context) (*api.IdentityInfo, error) {
	out, _, err := read[api.IdentityInfo](ctx, c, Path("auth", "identities", "current"))
	return out, err
}

// CreateTLSIdentity makes an identity that a client certificate proves. Without a certificate in post, which then asks for a token,
// it returns the token that the client shows once together with its certificate; else nil.
func (c *Client) CreateTLSIdentity(ctx context.Context, post api.IdentitiesTLSPost) (*api.CertificateAddToken, error) {
	path := Path("auth", "identities", "tls")
	if !post.Token {
		return nil, c.Apply(ctx, http.MethodPost, path, post, "")
	}
	t, err := answerTo[api.CertificateAddToken](ctx, c, path, post)
	if err == nil && t.Secret == "" {
		err = errors.New("the server's answer lacks a token")
	}
	return t, err
}

// CreateBearerIdentity makes an identity that a token proves; IssueToken makes that.
func (c *Client) CreateBearerIdentity(ctx context.Context, post api.IdentitiesBearerPost) error {
	return c.Apply(ctx, http.MethodPost, Path("auth", "identities", "bearer"), post, "")
}

// UpdateIdentity replaces the groups, or the certificate, of the identity at path, which IdentityPath makes.
func (c *Client) UpdateIdentity(ctx context.Context, path string, put api.IdentityPut, etag string) error {
	return c.Apply(ctx, http.MethodPut, path, put, etag)
}

// DeleteIdentity takes all rights from an identity, and forgets it.
func (c *Client) DeleteIdentity(ctx context.Context, method, name string) error {
	return c.Apply(ctx, http.MethodDelete, IdentityPath(method, name), nil, "")
}

// IssueToken makes a token for a bearer identity, in place of the one it had. expiry is a time such as "30d"; empty leaves it to the server.
func (c *Client) IssueToken(ctx context.Context, name, expiry string) (string, error) {
	t, err := answerTo[api.IdentityBearerToken](ctx, c, IdentityPath("bearer", name)+"/token", api.IdentityBearerTokenPost{Expiry: expiry})
	if err != nil {
		return "", err
	}
	if t.Token == "" {
		return "", errors.New("the server's answer lacks a token")
	}
	return t.Token, nil
}

// RevokeToken makes the token of a bearer identity worthless.
func (c *Client) RevokeToken(ctx context.Context, name string) error {
	return c.Apply(ctx, http.MethodDelete, IdentityPath("bearer", name)+"/token", nil, "")
}

// AuthGroups lists the groups that give rights to their members.
func (c *Client) AuthGroups(ctx context.Context) ([]api.AuthGroup, error) {
	return readAllOf[api.AuthGroup](ctx, c, Path("auth", "groups"), nil)
}

// AuthGroup reads a group, with its ETag.
func (c *Client) AuthGroup(ctx context.Context, name string) (*api.AuthGroup, string, error) {
	return read[api.AuthGroup](ctx, c, Path("auth", "groups", name))
}

// CreateAuthGroup makes a group.
func (c *Client) CreateAuthGroup(ctx context.Context, post api.AuthGroupsPost) error {
	return c.Apply(ctx, http.MethodPost, Path("auth", "groups"), post, "")
}

// UpdateAuthGroup replaces the permissions and the description of a group.
func (c *Client) UpdateAuthGroup(ctx context.Context, name string, put api.AuthGroupPut, etag string) error {
	return c.Apply(ctx, http.MethodPut, Path("auth", "groups", name), put, etag)
}

// RenameAuthGroup gives a group another name; its members stay.
func (c *Client) RenameAuthGroup(ctx context.Context, name, to string) error {
	return c.Apply(ctx, http.MethodPost, Path("auth", "groups", name), api.AuthGroupPost{Name: to}, "")
}

// DeleteAuthGroup removes a group, and with it what it gave its members.
func (c *Client) DeleteAuthGroup(ctx context.Context, name string) error {
	return c.Apply(ctx, http.MethodDelete, Path("auth", "groups", name), nil, "")
}

// IdentityProviderGroups lists what groups of the identity provider are here.
func (c *Client) IdentityProviderGroups(ctx context.Context) ([]api.IdentityProviderGroup, error) {
	return readAllOf[api.IdentityProviderGroup](ctx, c, Path("auth", "identity-provider-groups"), nil)
}

// IdentityProviderGroup reads what a group of the identity provider is here, with its ETag.
func (c *Client) IdentityProviderGroup(ctx context.Context, name string) (*api.IdentityProviderGroup, string, error) {
	return read[api.IdentityProviderGroup](ctx, c, Path("auth", "identity-provider-groups", name))
}

// CreateIdentityProviderGroup notes a group of the identity provider and those that it stands for.
func (c *Client) CreateIdentityProviderGroup(ctx context.Context, post api.IdentityProviderGroupsPost) error {
	return c.Apply(ctx, http.MethodPost, Path("auth", "identity-provider-groups"), post, "")
}

// UpdateIdentityProviderGroup replaces the groups that one of the identity provider stands for.
func (c *Client) UpdateIdentityProviderGroup(ctx context.Context, name string, put api.IdentityProviderGroupPut, etag string) error {
	return c.Apply(ctx, http.MethodPut, Path("auth", "identity-provider-groups", name), put, etag)
}

// RenameIdentityProviderGroup follows a group of the identity provider to its new name.
func (c *Client) RenameIdentityProviderGroup(ctx context.Context, name, to string) error {
	return c.Apply(ctx, http.MethodPost, Path("auth", "identity-provider-groups", name), api.IdentityProviderGroupPost{Name: to}, "")
}

// DeleteIdentityProviderGroup forgets a group of the identity provider.
func (c *Client) DeleteIdentityProviderGroup(ctx context.Context, name string) error {
	return c.Apply(ctx, http.MethodDelete, Path("auth", "identity-provider-groups", name), nil, "")
}

// Permissions lists all that can be granted, and the groups that have it. Empty arguments leave out no project and no type of entity.
func (c *Client) Permissions(ctx context.Context, project, entityType string) ([]api.PermissionInfo, error) {
	query := url.Values{}
	if project != "" {
		query.Set("project", project)
	}
	if entityType != "" {
		query.Set("entity-type", entityType)
	}
	// Permissions belong to the server; the project that the client works in is no filter that anybody asked for.
	return readAllOf[api.PermissionInfo](ctx, c.InProject(""), Path("auth", "permissions"), query)
}

// OIDCSessions lists the browsers that are logged in; email leaves out those of others.
func (c *Client) OIDCSessions(ctx context.Context, email string) ([]api.OIDCSession, error) {
	query := url.Values{}
	if email != "" {
		query.Set("email", email)
	}
	return readAllOf[api.OIDCSession](ctx, c, Path("auth", "oidc-sessions"), query)
}

// OIDCSession reads a session.
func (c *Client) OIDCSession(ctx context.Context, id string) (*api.OIDCSession, error) {
	out, _, err := read[api.OIDCSession](ctx, c, Path("auth", "oidc-sessions", id))
	return out, err
}

// DeleteOIDCSession logs a session out.
func (c *Client) DeleteOIDCSession(ctx context.Context, id string) error {
	return c.Apply(ctx, http.MethodDelete, Path("auth", "oidc-sessions", id), nil, "")
}
