package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"lxd/internal/backup"
	volumebackup "lxd/internal/backup/volume"
	"lxd/internal/devlxd"
	"lxd/internal/driver/all"
	"lxd/internal/host/idmap"
	"lxd/internal/host/module"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/identity/oidc"
	"lxd/internal/image"
	"lxd/internal/instance"
	"lxd/internal/machine"
	"lxd/internal/network"
	"lxd/internal/network/acl"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/server"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/storage/depot"
	"lxd/internal/trust"
	"lxd/internal/warning"
)

// domain is the rules of all resources, and the backends below them.
type domain struct {
	backends      all.Set
	server        *server.Service
	warnings      *warning.Service
	trust         *trust.Service
	identities    *identity.Service
	bearers       *bearer.Service
	issuer        *oidc.Service
	projects      *project.Service
	profiles      *profile.Service
	networks      *network.Service
	acls          *acl.Service
	pools         *storage.Service
	volumes       *custom.Service
	images        *image.Service
	instances     *instance.Service
	backups       *backup.Service
	volumeBackups *volumebackup.Service
	depots        *depot.Service
}

func (a *App) openDomain(ctx context.Context) (err error) {
	d := &domain{}
	if d.backends, err = a.o.Backends(a.dir.path); err != nil {
		return err
	}
	a.onClose("backends", func(context.Context) error { return d.backends.Close() })
	host, err := describeHost()
	if err != nil {
		return err
	}
	d.warnings = warning.New(warning.Deps{Store: a.store, Location: standalone})
	d.profiles = profile.New(profile.Deps{Store: a.store})
	d.trust = a.openTrust()
	d.identities = a.openIdentities(d.trust)
	d.bearers = a.openBearers(d)
	d.issuer = a.openIssuer(d)
	d.projects = project.New(project.Deps{Store: a.store, Profiles: followers{d.profiles, d.trust}})
	d.server = &server.Service{Store: a.store, Project: d.projects.Check}
	d.networks = network.New(network.Deps{Store: a.store, Drivers: d.backends.Networks, Dir: a.dir.join("networks"), Warnings: d.warnings, Hook: a.hook})
	d.acls = acl.New(acl.Deps{Store: a.store, Networks: d.networks, LogDir: a.dir.join("logs", "network-acl")})
	d.images = a.openImages()
	d.pools = storage.New(storage.Deps{Store: a.store, Drivers: d.backends.Storage, Dir: a.dir.join("storage-pools"),
		Location: standalone, Warnings: d.warnings, Unpack: d.images.Unpack, Kept: d.images.Kept})
	d.images.Use(d.pools)
	a.onClose("storage pools", func(context.Context) error { return d.pools.Close() })
	a.guests = devlxd.New(devlxd.Deps{Images: d.images, Bearers: d.bearers, Drivers: d.pools.Supported()})
	a.onClose("sockets of instances", a.guests.Shutdown)
	a.openVolumes(ctx, d)
	a.openBackups(ctx, d)
	a.openDepots(d)
	d.instances = instance.New(context.WithoutCancel(ctx), instance.Deps{
		Store: a.store, Ops: a.ops, Machine: d.backends.Machine, Volumes: d.pools, Copies: d.pools, Images: d.images, Networks: d.networks, Belongings: d.backups,
		Kinds: a.kinds(d), Host: host, Announce: a.hub.Announce, Warnings: d.warnings, BridgeFilter: bridgeFilter,
		Guests: a.guests, Templates: a.templates(),
		LoadModule: module.Loader{Loaded: "/sys/module"}.Load,
		RunDir:     a.dir.join("run"), LogDir: a.dir.join("logs"),
	})
	d.backups.Use(d.instances)
	d.profiles.Use(d.instances)
	d.projects.Use(contents{a, d})
	d.networks.Use(d.instances)
	d.images.Publish(d.instances)
	a.guests.Use(d.instances)
	a.domain = d
	a.onClose("instances", func(context.Context) error { d.instances.Close(); return nil })
	return nil
}

// bringUp makes the host match the state, and deals with what a crash left.
func (a *App) bringUp(ctx context.Context) error {
	d := a.domain
	a.onClose("operations", func(ctx context.Context) error { a.ops.Close(ctx); return nil })
	for _, recoverers := range []map[string]op.Recoverer{d.profiles.Recoverers(), d.instances.Recoverers(), d.volumes.Recoverers(), d.backups.Recoverers(), d.volumeBackups.Recoverers()} {
		for kind, recover := range recoverers {
			a.ops.Register(kind, recover)
		}
	}
	for _, step := range []struct {
		what string
		fn   func(context.Context) error
	}{
		{"server", d.server.Init}, {"telling", a.startTelling}, {"projects", d.projects.Start}, {"profiles", d.profiles.Start},
		{"storage pools", d.pools.Start}, {"volumes of images and backups", a.startDepots},
		{"images", func(context.Context) error { return d.images.Start(a.ops) }}, {"networks", d.networks.StartAll},
		{"operations", a.recoverOps}, {"custom volumes", d.volumes.Start}, {"backups", d.backups.Start}, {"backups of volumes", d.volumeBackups.Start},
		{"files of images and backups", a.settleDepots}, {"instances", d.instances.Boot},
		{"image updates", a.tendImages}, {"warnings", a.tendWarnings}, {"identities", a.tendIdentities}, {"sessions", a.tendSessions},
	} {
		if err := step.fn(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// recoverOps deals with what a crash cut short. What cannot be dealt with now keeps its journal: that is no reason not to serve,
// since it takes a running daemon to mend it.
func (a *App) recoverOps(ctx context.Context) error {
	if err := a.ops.Recover(ctx); err != nil {
		slog.Error("Operations that were cut short could not be recovered: mend the cause and restart the daemon", "err", err)
	}
	return nil
}

// bringDown stops what runs on the host.
func (d *domain) bringDown(ctx context.Context) error {
	d.instances.Shutdown(ctx)
	return errors.Join(d.networks.StopAll(ctx))
}

// describeHost reads what the rules of instances need to know.
func describeHost() (instance.Host, error) {
	m, err := idmap.Host("/etc", "/proc/self")
	if err != nil {
		return instance.Host{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return instance.Host{}, err
	}
	h := instance.Host{Architecture: server.Architectures()[0], Boot: strings.TrimSpace(string(boot))}
	for _, r := range m {
		h.IDMap = append(h.IDMap, machine.IDRange{Host: r.Host, Inside: r.Inside, Size: r.Size})
	}
	reserved, err := idmap.Reserved("/etc")
	if err != nil {
		return instance.Host{}, err
	}
	for _, r := range reserved {
		h.Reserved = append(h.Reserved, machine.IDRange{Host: r.Host, Inside: r.Inside, Size: r.Size})
	}
	if h.CPUs, err = onlineCPUs(); err != nil {
		return instance.Host{}, err
	}
	if h.Nodes, err = numaNodes("/sys/devices/system/node", h.CPUs); err != nil {
		return instance.Host{}, err
	}
	h.Memory, err = memoryBytes()
	return h, err
}
