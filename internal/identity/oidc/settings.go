package oidc

import (
	"encoding/json"
	"net/http"
	"strings"

	"lxd/internal/server"
)

// Settings is what the server's configuration says of the issuer.
type Settings struct {
	Issuer, ClientID, ClientSecret, Audience, GroupsClaim string
	Scopes                                                string
}

// settingsOf reads the configuration.
func settingsOf(config map[string]string) Settings {
	get := func(key string) string { return server.Keys().Get(config, key) }
	return Settings{
		Issuer: get(server.OIDCIssuer), ClientID: get(server.OIDCClientID), ClientSecret: get(server.OIDCClientSecret),
		Audience: get(server.OIDCAudience), GroupsClaim: get(server.OIDCGroupsClaim), Scopes: strings.Join(strings.Fields(get(server.OIDCScopes)), " "),
	}
}

// Enabled tells whether callers can come from the issuer.
func (s Settings) Enabled() bool { return s.Issuer != "" && s.ClientID != "" }

// announce tells a client how it can get a token. The client secret is the server's own and stays here.
func (s Settings) announce(h http.Header) {
	h.Set("X-LXD-OIDC-issuer", s.Issuer)
	h.Set("X-LXD-OIDC-clientid", s.ClientID)
	h.Set("X-LXD-OIDC-audience", s.Audience)
	h.Set("X-LXD-OIDC-groups-claim", s.GroupsClaim)
	if b, err := json.Marshal(strings.Fields(s.Scopes)); err == nil {
		h.Set("X-LXD-OIDC-scopes", string(b))
	}
}
