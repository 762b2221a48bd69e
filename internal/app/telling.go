package app

import (
	"context"
	"log/slog"

	"lxd/internal/app/https"
	"lxd/internal/auth"
	"lxd/internal/loki"
	"lxd/internal/schema"
	"lxd/internal/server"
	"lxd/internal/syslog"
)

// openTelling prepares to pass events on to a Loki server, and to take log messages of others. It is closed late, so that what happens while
// the daemon ends is passed on too.
func (a *App) openTelling(context.Context) error {
	a.loki = loki.New(a.hub, proxies(func(ctx context.Context, key string) (string, error) { return a.domain.server.Get(ctx, key) }))
	a.onClose("loki", a.loki.Close)
	a.syslog = syslog.New(a.dir.join("syslog.socket"), a.hub)
	a.onClose("syslog socket", func(context.Context) error { return a.syslog.Close() })
	return nil
}

// startTelling does what the configuration says; a.follow does so from then on.
func (a *App) startTelling(ctx context.Context) error {
	config, err := a.domain.server.Config(ctx)
	if err != nil {
		return err
	}
	a.issuer = issuerIn(config)
	a.tell(config)
	if err := a.listenSyslog(config[server.SyslogSocket]); err != nil {
		slog.Error("Log messages of other programs are not taken", "err", err)
	}
	return nil
}

// follow acts on a configuration that has changed.
func (a *App) follow(config map[string]string) {
	a.network.SetPolicy(https.PolicyOf(config))
	a.endUnproven(config)
	a.acme.Changed()
	a.tidyDepots(context.Background(), config)
	a.tell(config)
}

// endUnproven ends the connections of those whose way of proving themselves the server takes no more.
func (a *App) endUnproven(config map[string]string) {
	issuer, authority := issuerIn(config), schema.IsTrue(config[server.TrustAuthority])
	changed := issuer != a.issuer
	a.issuer = issuer
	a.rest.End(func(caller auth.Identity) bool {
		return caller.Kind == auth.PKI && !authority || caller.Kind == auth.OIDC && changed
	})
}

// issuerIn is whose word a configuration takes, and for whom it must be meant.
func issuerIn(config map[string]string) [3]string {
	return [3]string{config[server.OIDCIssuer], config[server.OIDCClientID], config[server.OIDCAudience]}
}

// tell sends events to where the configuration wants them.
func (a *App) tell(config map[string]string) {
	get := func(key string) string { return server.Keys().Get(config, key) }
	c := loki.Config{
		URL: get(server.LokiURL), Authority: get(server.LokiAuthority), Username: get(server.LokiUsername), Password: get(server.LokiPassword),
		Instance: get(server.LokiInstance), Location: hostName(), Labels: loki.Split(get(server.LokiLabels)), Level: get(server.LokiLevel), Types: loki.Split(get(server.LokiTypes)),
	}
	if c.Instance == "" {
		c.Instance = c.Location
	}
	if err := a.loki.Configure(c); err != nil {
		slog.Error("Events are not sent to Loki", "err", err)
	}
}

// listenSyslog opens or closes the socket of log messages.
func (a *App) listenSyslog(on string) error {
	if schema.IsTrue(on) {
		return a.syslog.Open()
	}
	return a.syslog.Close()
}
