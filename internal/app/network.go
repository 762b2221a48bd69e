package app

import (
	"context"
	"net/http"
	"os"

	"lxd/internal/app/https"
	"lxd/internal/auth"
	"lxd/internal/endpoint/monitoring"
	"lxd/internal/identity"
	"lxd/internal/profile"
	"lxd/internal/schema"
	"lxd/internal/server"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// openIdentity reads, or at the first start makes, what the server proves its identity with.
func (a *App) openIdentity(context.Context) (err error) {
	if a.authority, err = trust.LoadAuthority(a.dir.join("server.ca"), a.dir.join("ca.crl")); err != nil {
		return err
	}
	a.identity, err = https.Identity(a.dir.path, hostName())
	return err
}

// hostName is what the server is called where the host does not know its own name.
func hostName() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "lxd"
}

// addresses lists where the API is served to the network.
func (a *App) addresses() []string {
	if a.network == nil {
		return nil
	}
	return a.network.Addresses()
}

func (a *App) openTrust() *trust.Service {
	return trust.New(trust.Deps{
		Store: a.store, Fingerprint: a.identity.Fingerprint, Addresses: a.addresses, Limit: &a.limit,
		Authority: a.authority, TrustAuthority: func(ctx context.Context) (bool, error) {
			v, err := a.domain.server.Get(ctx, server.TrustAuthority)
			return schema.IsTrue(v), err
		},
		Expiry: a.tokenExpiry,
		Taken: func(tx store.Tx, fingerprint string) bool {
			return identity.Collection.Has(tx, identity.Key(string(auth.TLS), fingerprint))
		},
	})
}

// openNetwork prepares to serve the API and the metrics to the network.
func (a *App) openNetwork(handler http.Handler) {
	a.network = https.New(handler, a.identity, server.DefaultPort)
	metrics := http.NewServeMux()
	metrics.Handle(monitoring.Path, handler)
	a.meters = https.New(metrics, a.identity, server.DefaultMetricsPort)
	a.debug = https.Plain(profiling(), server.DefaultDebugPort)
	a.openACME()
	a.domain.server.Listen = map[string]func(string) error{server.HTTPSAddress: a.network.Move, server.MetricsAddress: a.meters.Move,
		server.DebugAddress: a.debug.Move, server.SyslogSocket: a.listenSyslog}
	a.domain.server.Apply = a.domain.depots.Apply
	a.domain.server.Changed = a.follow
}

// serveNetwork serves the API and the metrics to the network, where the configuration wants it, and follows it from then on.
func (a *App) serveNetwork(ctx context.Context) error {
	config, err := a.domain.server.Config(ctx)
	if err != nil {
		return err
	}
	a.network.SetPolicy(https.PolicyOf(config))
	for key, s := range map[string]*https.Server{server.HTTPSAddress: a.network, server.MetricsAddress: a.meters, server.DebugAddress: a.debug} {
		a.onClose(key, s.Close)
		if address := config[key]; address != "" {
			s.Start(address)
		}
	}
	a.tendACME(ctx)
	return nil
}

// followers are all that has to know when a project comes, goes or is renamed.
type followers struct {
	*profile.Service
	trust *trust.Service
}

// Drop takes the default profile of a project within tx, and the project from the certificates.
func (f followers) Drop(tx store.Tx, name string) error {
	if err := depot.Busy(tx, name); err != nil {
		return err
	}
	if err := f.trust.ProjectGone(tx, name); err != nil {
		return err
	}
	return f.Service.Drop(tx, name)
}

// Move gives the default profile of a project to another one within tx, and lets the certificates follow.
func (f followers) Move(tx store.Tx, from, to string) error {
	if err := depot.Busy(tx, from); err != nil {
		return err
	}
	if err := f.trust.ProjectRenamed(tx, from, to); err != nil {
		return err
	}
	return f.Service.Move(tx, from, to)
}
