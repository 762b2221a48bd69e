package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"lxd/api"
	"lxd/internal/app/https/acme"
	"lxd/internal/schema"
	"lxd/internal/server"
	"lxd/internal/warning"
)

// openACME prepares to get a certificate that everybody trusts. It is shown to those who ask for its name; all others go on seeing the
// server's own, which is what clients have noted and what is in tokens.
func (a *App) openACME() {
	set := func(ctx context.Context, key string) (string, error) { return a.domain.server.Get(ctx, key) }
	a.acme = acme.New(acme.Deps{Dir: a.dir.join("acme"), Settings: a.acmeSettings, Listen: a.challengeListener, Report: a.reportACME,
		HTTP: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			Proxy:               func(r *http.Request) (*url.URL, error) { return proxies(set)(r.URL) },
			TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: 10 * time.Second,
		}}})
	a.network.ShowByName(a.acme.Certificate)
	a.meters.ShowByName(a.acme.Certificate)
}

func (a *App) acmeSettings(ctx context.Context) (acme.Settings, error) {
	config, err := a.domain.server.Config(ctx)
	return acme.Settings{
		Domain: config[server.ACMEDomain], Email: config[server.ACMEEmail], Directory: server.Keys().Get(config, server.ACMEDirectory),
		Agreed: schema.IsTrue(config[server.ACMEAgreed]), Served: config[server.HTTPSAddress] != "",
	}, err
}

// challengeListener opens the port where authorities look for answers, on the address that the API is served on. It is often taken by a
// proxy, which then has to pass them on.
func (a *App) challengeListener() (net.Listener, error) {
	host, _, err := server.SplitAddress(a.network.Address(), server.DefaultPort)
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "80"))
}

// reportACME has the administrator know what keeps the server from having a certificate.
func (a *App) reportACME(ctx context.Context, failure error) {
	var err error
	if failure != nil {
		slog.Error("There is no new certificate of the ACME service: trying again later, or when the configuration is changed", "err", failure)
		err = a.domain.warnings.Raise(ctx, api.WarningUnableToUpdateClusterCertificate, warning.Entity{}, failure.Error())
	} else {
		err = a.domain.warnings.Resolve(ctx, api.WarningUnableToUpdateClusterCertificate, warning.Entity{})
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("A warning cannot be kept", "err", err)
	}
}

// tendACME sees to that certificate until the daemon ends.
func (a *App) tendACME(ctx context.Context) {
	a.tend(ctx, "certificates of the ACME service", a.acme.Tend)
}
