package client

import (
	"context"
	"net/http"
)

// Credentials is what proves who calls by a token, in the place of a client certificate or besides it. Its methods may be called at the
// same time.
type Credentials interface {
	// Token is what the next request shows; "" shows nothing.
	Token(ctx context.Context) (string, error)
	// Renew is told that a server turned the token away, and what its answer says of how to get another one. ok is false if there is none
	// to be had.
	Renew(ctx context.Context, refused string, answer http.Header) (ok bool, err error)
}

// Bearer is a token that does not change, such as one that the server issued for an identity.
type Bearer string

// Token is the token itself.
func (b Bearer) Token(context.Context) (string, error) { return string(b), nil }

// Renew has no other token.
func (Bearer) Renew(context.Context, string, http.Header) (bool, error) { return false, nil }

// As is the same connection with requests that show a token of those credentials.
func (c *Client) As(who Credentials) *Client {
	scoped := *c
	scoped.who = who
	return &scoped
}

// sign puts the token into a request's header, and returns it.
func (c *Client) sign(ctx context.Context, h http.Header) (string, error) {
	if c.who == nil {
		return "", nil
	}
	token, err := c.who.Token(ctx)
	if err != nil {
		return "", err
	}
	// So the server turns those away whom it does not know, also where strangers may enter: there is something to be told them.
	h.Set("X-LXD-authenticated", "true")
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	return token, nil
}

// renewed tells whether a request that was turned away is worth another try.
func (c *Client) renewed(ctx context.Context, token string, answer *http.Response) (bool, error) {
	if c.who == nil || answer == nil || answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden {
		return false, nil
	}
	return c.who.Renew(ctx, token, answer.Header)
}
