package admin

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"lxd/api"
	"lxd/internal/errs"
)

const (
	// firstUser is the identity of whoever opens a link to the user interface.
	firstUser = "ui-admin-initial"
	// linkLife is how long a link works.
	linkLife = "24H"
)

// printLink prints a link with which a browser can do everything for a day. It takes the place of the one before.
func printLink(ctx context.Context, s Server, out io.Writer) error {
	var server api.Server
	if _, err := s.Get(ctx, "/1.0", &server); err != nil {
		return err
	}
	if len(server.Environment.Addresses) == 0 {
		return errs.Newf(errs.Precondition, "a link is of no use while browsers cannot reach the server: first run lxc config set core.https_address=:8443")
	}
	const bearers = "/1.0/auth/identities/bearer"
	_, err := s.Get(ctx, bearers+"/"+firstUser, nil)
	if errs.Is(err, errs.NotFound) {
		err = s.Do(ctx, "POST", bearers, api.IdentitiesBearerPost{Type: api.IdentityTypeInitialUITokenBearer, Name: firstUser}, "")
	}
	if err != nil {
		return err
	}
	var issued api.IdentityBearerToken
	if err := s.Ask(ctx, bearers+"/"+firstUser+"/token", api.IdentityBearerTokenPost{Expiry: linkLife}, &issued); err != nil {
		return err
	}
	text := "This link opens the user interface, with all rights. It works for 24 hours:\n"
	for _, at := range server.Environment.Addresses {
		text += fmt.Sprintf("https://%s/ui/?token=%s\n", at, url.QueryEscape(issued.Token))
	}
	return writeAll(out, text)
}
