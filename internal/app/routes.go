package app

import (
	"context"
	"os"
	"strconv"

	"lxd/api"
	document "lxd/doc/reference/api"
	"lxd/internal/driver/all"
	"lxd/internal/endpoint"
	"lxd/internal/endpoint/absent"
	"lxd/internal/endpoint/access"
	"lxd/internal/endpoint/challenge"
	"lxd/internal/endpoint/networking"
	"lxd/internal/host/hardware"
	"lxd/internal/instance"
	"lxd/internal/migrate"
	"lxd/internal/network/acl"
	"lxd/internal/network/forward"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/schema"
	"lxd/internal/server"
)

// Routes is the whole API, for its description; it cannot be served.
func Routes() [][]rest.Route {
	a := &App{domain: &domain{backends: all.Described()}, rest: &rest.Server{}}
	return a.routes(server.Facts{})
}

// routes is the whole API.
func (a *App) routes(facts server.Facts) [][]rest.Route {
	d := a.domain
	return [][]rest.Route{
		endpoint.Server(d.server, facts), endpoint.Internal(a), endpoint.Recover(d.pools), endpoint.Metadata(tables(d.backends)), endpoint.Description(document.OpenAPI),
		endpoint.Operations(a.ops), endpoint.Events(a.hub, 0), endpoint.Warnings(d.warnings), a.metrics(), endpoint.Certificates(d.trust),
		access.Identities(d.identities, d.trust), access.Groups(d.identities), access.ProviderGroups(d.identities), access.Permissions(d.identities),
		absent.Cluster(), absent.Routes(func(ctx context.Context, pool string) error {
			_, _, err := d.pools.GetPool(ctx, pool)
			return err
		}),
		challenge.Routes(func(token string) (string, error) { return a.acme.Challenge(token) }),
		access.Tokens(d.identities, d.bearers), access.Sessions(d.issuer), access.Browser(d.issuer, d.bearers, os.Getenv("LXD_UI")),
		endpoint.Projects(d.projects), endpoint.Profiles(d.profiles), networking.Networks(d.networks),
		networking.Forwards(d.networks), networking.ACLs(d.acls), networking.Allocations(d.networks), networking.Absent(d.networks),
		endpoint.StoragePools(d.pools), endpoint.StorageVolumes(d.pools, d.volumes, endpoint.ImportVolume(d.volumeBackups, a.rest), nil),
		endpoint.StorageVolumeBackups(d.volumeBackups, nil),
		endpoint.Resources(hardware.Host{}.Resources), endpoint.Images(d.images, a.rest), endpoint.ImageAliases(d.images),
		endpoint.Instances(d.instances, endpoint.Import(d.backups, a.rest), migrate.New(d.instances, d.backups), nil), endpoint.InstanceState(d.instances, nil), endpoint.InstanceExec(d.instances, nil),
		endpoint.InstanceBackups(d.backups, a.rest, nil),
		endpoint.InstanceFiles(d.instances, nil), endpoint.InstanceLogs(d.instances, nil), endpoint.InstanceMetadata(d.instances, nil),
		endpoint.InstanceSnapshots(d.instances, nil),
	}
}

// facts is what the server says of itself.
func (a *App) facts() server.Facts {
	d := a.domain
	f := server.Facts{Name: hostName(), Certificate: a.identity.PEM, CertificateFingerprint: a.identity.Fingerprint, Addresses: a.addresses,
		Driver: d.backends.Machine.Name(), InstanceTypes: []string{string(api.InstanceTypeContainer)}, Firewall: d.backends.Firewall}
	if info, err := d.backends.Machine.Probe(context.Background()); err == nil {
		f.DriverVersion = info.Version
		f.LXCFeatures = map[string]string{}
		for name, has := range info.Features {
			f.LXCFeatures[name] = strconv.FormatBool(has)
		}
	}
	f.StorageDrivers, f.StorageInUse = d.pools.Supported(), d.pools.InUse
	return f
}

// tables is the configuration keys of every entity.
func tables(b all.Set) endpoint.Tables {
	t := endpoint.Tables{
		"server":          server.Table(),
		"instance":        endpoint.Grouped("instance", "miscellaneous", instance.Keys.Keys()),
		"project":         endpoint.Grouped("project", "specific", project.Keys.Keys()),
		"network-forward": {"forward-properties": forward.Keys().Keys()},
		"network-acl":     {"acl-properties": acl.Keys().Keys()},
	}
	for entity, groups := range properties() {
		for group, keys := range groups {
			if t[entity] == nil {
				t[entity] = map[string][]schema.Key{}
			}
			t[entity][group] = append(t[entity][group][:len(t[entity][group]):len(t[entity][group])], keys...)
		}
	}
	deviceTables(t)
	for _, s := range b.Storage {
		t["storage-"+s.Name()] = map[string][]schema.Key{"pool-conf": s.Keys().Keys(), "volume-conf": s.VolumeKeys().Keys()}
	}
	for _, n := range b.Networks {
		t["network-"+n.Name()] = map[string][]schema.Key{"network-conf": n.Keys().Keys()}
	}
	return t
}
