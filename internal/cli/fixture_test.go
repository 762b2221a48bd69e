package cli_test

import (
	"net/http"
	"time"

	"lxd/api"
)

const fingerprint = "a1776f67c63eb5261f729f695be173b9712d57706ffcf6328051e6fcbbee940c"

var day = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func instance(name string, status api.StatusCode) api.InstanceFull {
	root := map[string]string{"type": "disk", "path": "/", "pool": "default"}
	nic := map[string]string{"type": "nic", "network": "lxdbr0", "name": "eth0"}
	i := api.InstanceFull{Instance: api.Instance{Name: name, Status: status.String(), StatusCode: status, Type: "container", Project: "default",
		Location: "none", Architecture: "x86_64", CreatedAt: day, Profiles: []string{"default"},
		Config:          map[string]string{"volatile.base_image": fingerprint, "user.role": "web"},
		Devices:         map[string]map[string]string{},
		ExpandedConfig:  map[string]string{"volatile.base_image": fingerprint, "user.role": "web", "image.os": "Debian"},
		ExpandedDevices: map[string]map[string]string{"root": root, "eth0": nic}},
		State: &api.InstanceState{Status: status.String(), StatusCode: status}}
	if status == api.StatusRunning {
		i.LastUsedAt = day
		i.State = runningState()
	}
	return i
}

func runningState() *api.InstanceState {
	address := func(family, ip, mask, scope string) api.InstanceStateNetworkAddress {
		return api.InstanceStateNetworkAddress{Family: family, Address: ip, Netmask: mask, Scope: scope}
	}
	return &api.InstanceState{Status: "Running", StatusCode: api.StatusRunning, Pid: 4242, Processes: 7,
		CPU:    api.InstanceStateCPU{Usage: 3_500_000_000},
		Memory: api.InstanceStateMemory{Usage: 64 << 20, UsagePeak: 80 << 20, Total: 256 << 20},
		Disk:   map[string]api.InstanceStateDisk{"root": {Usage: 10 << 20}},
		Network: map[string]api.InstanceStateNetwork{
			"lo": {Type: "loopback", State: "up", Mtu: 65536, Addresses: []api.InstanceStateNetworkAddress{address("inet", "127.0.0.1", "8", "local")}},
			"eth0": {Type: "broadcast", State: "up", Mtu: 1500, Hwaddr: "00:16:3e:01:02:03", HostName: "veth1",
				Counters: api.InstanceStateNetworkCounters{BytesReceived: 3360, BytesSent: 700, PacketsReceived: 30, PacketsSent: 9},
				Addresses: []api.InstanceStateNetworkAddress{address("inet", "10.1.0.5", "24", "global"), address("inet", "172.17.0.1", "16", "global"),
					address("inet6", "fd42::5", "64", "global"), address("inet6", "fe80::1", "64", "link")}}}}
}

// fixture is a server with a little of everything.
func fixture() map[string]answer {
	c1, c2, c10 := instance("c1", api.StatusRunning), instance("c2", api.StatusStopped), instance("c10", api.StatusStopped)
	c2.Devices = map[string]map[string]string{"data": {"type": "disk", "path": "/data", "source": "/srv"}}
	c10.Ephemeral = true
	c1.Snapshots = []api.InstanceSnapshot{{Name: "snap0", CreatedAt: day}}
	out := map[string]answer{
		"GET /1.0":                           {metadata: server(), etag: "e-server"},
		"GET /1.0?project=masked":            {metadata: map[string]any{"config": map[string]any{"loki.auth.password": true, "user.a": "true"}}},
		"GET /1.0/instances":                 {metadata: []api.InstanceFull{c10, c2, c1}, names: []string{"/1.0/instances/c1", "/1.0/instances/c2", "/1.0/instances/web?project=x"}},
		"GET /1.0/instances/c1":              {metadata: c1, etag: "e-c1"},
		"GET /1.0/instances/c2":              {metadata: c2, etag: "e-c2"},
		"PUT /1.0/instances/c2/state":        {async: true},
		"PUT /1.0/instances/c1/state":        {async: true, fail: "The instance is already running"},
		"PUT /1.0/instances/c9/state":        {code: http.StatusNotFound, text: "Instance not found"},
		"POST /1.0/instances":                {async: true, meta: map[string]any{"entity_url": "/1.0/instances/happy-fox"}},
		"GET /1.0/instances/happy-fox":       {metadata: c2},
		"GET /1.0/instances/c3":              {metadata: api.Instance{Name: "c3"}},
		"GET /1.0/operations":                {metadata: map[string]any{"running": []api.Operation{operation("b2", answer{}, api.StatusRunning), operation("b10", answer{}, api.StatusRunning)}}},
		"GET /1.0/operations/b2":             {metadata: operation("b2", answer{}, api.StatusRunning)},
		"POST /1.0/bad":                      {code: http.StatusBadRequest, text: "No such thing"},
		"GET /1.0/instances/c2/metadata":     {metadata: api.ImageMetadata{Architecture: "x86_64", CreationDate: 1700000000, Properties: map[string]string{"os": "Debian"}}},
		"GET /1.0/instances/c1/logs/lxc.log": {code: http.StatusNotFound, text: "no log"},
	}
	fixtureImages(out)
	fixturePlaces(out)
	fixtureTrust(out)
	fixtureAuth(out)
	return out
}

// fixtureTrust is a server that trusts one client and has one token out.
func fixtureTrust(out map[string]answer) {
	cert := api.Certificate{Name: "desk", Type: "client", Projects: []string{}, Fingerprint: "3f8b" + fingerprint[4:], Certificate: "no PEM"}
	out["GET /1.0/certificates"] = answer{metadata: []api.Certificate{cert}}
	out["GET /1.0/certificates/3f8b"] = answer{metadata: cert, etag: "e-cert"}
	request := map[string]any{"name": "laptop", "type": "client"}
	meta := map[string]any{"secret": "s3", "fingerprint": fingerprint, "addresses": []string{"10.0.0.1:8443"}, "request": request, "expiresAt": day}
	out["POST /1.0/certificates"] = answer{async: true, meta: meta, class: "token"}
	token := operation("t1", answer{meta: meta, class: "token"}, api.StatusRunning)
	list := out["GET /1.0/operations"].metadata.(map[string]any)
	list["running"] = append(list["running"].([]api.Operation), token)
}

// fixtureAuth is a server with identities, groups of them and a login.
func fixtureAuth(out map[string]answer) {
	laptop := api.Identity{AuthenticationMethod: "tls", Type: "Client certificate", Identifier: "3f8b", Name: "laptop", Groups: []string{"web", "dba"}}
	ann := api.Identity{AuthenticationMethod: "oidc", Type: "OIDC client", Identifier: "ann@example.net", Name: "Ann", Groups: []string{}}
	deploy := api.Identity{AuthenticationMethod: "bearer", Type: "Client token bearer", Identifier: "4c9a", Name: "deploy", Groups: []string{"web"}}
	out["GET /1.0/auth/identities"] = answer{metadata: []api.Identity{ann, laptop, deploy}}
	out["GET /1.0/auth/identities/tls/laptop"] = answer{metadata: laptop, etag: "e-laptop"}
	out["GET /1.0/auth/identities/oidc/ann@example.net"] = answer{metadata: ann, etag: "e-ann"}
	out["GET /1.0/auth/identities/current"] = answer{metadata: api.IdentityInfo{Identity: laptop, EffectiveGroups: []string{"web"}, FineGrained: true, ExpiresAt: &day,
		EffectivePermissions: []api.Permission{{EntityType: "project", EntityReference: "/1.0/projects/web", Entitlement: "operator"}}}}
	out["POST /1.0/auth/identities/tls"] = answer{metadata: api.CertificateAddToken{ClientName: "laptop", Fingerprint: "f", Addresses: []string{"10.0.0.1:8443"}, Secret: "s3", Type: "Client certificate (pending)"}}
	out["POST /1.0/auth/identities/bearer/deploy/token"] = answer{metadata: api.IdentityBearerToken{Token: "t0.k3.n"}}
	grants := []api.Permission{{EntityType: "project", EntityReference: "/1.0/projects/web", Entitlement: "operator"}, {EntityType: "instance", EntityReference: "/1.0/instances/c1", Entitlement: "can_exec"}}
	web := api.AuthGroup{Name: "web", Description: "Default web people", Permissions: grants, Identities: map[string][]string{"tls": {"3f8b"}}, IdentityProviderGroups: []string{"staff"}}
	out["GET /1.0/auth/groups"] = answer{metadata: []api.AuthGroup{web, {Name: "dba", Permissions: []api.Permission{}}}, names: []string{"/1.0/auth/groups/web", "/1.0/auth/groups/dba"}}
	out["GET /1.0/auth/groups/web"] = answer{metadata: web, etag: "e-group"}
	staff := api.IdentityProviderGroup{Name: "staff", Groups: []string{"web"}}
	out["GET /1.0/auth/identity-provider-groups"] = answer{metadata: []api.IdentityProviderGroup{staff}, names: []string{"/1.0/auth/identity-provider-groups/staff"}}
	out["GET /1.0/auth/identity-provider-groups/staff"] = answer{metadata: staff, etag: "e-staff"}
	session := api.OIDCSession{UUID: "5d0b", Email: "ann@example.net", Username: "Ann", IP: "10.0.0.7", UserAgent: "Browser", CreatedAt: day, ExpiresAt: day.Add(time.Hour)}
	out["GET /1.0/auth/oidc-sessions"] = answer{metadata: []api.OIDCSession{session}, names: []string{"/1.0/auth/oidc-sessions/5d0b"}}
	out["GET /1.0/auth/oidc-sessions/5d0b"] = answer{metadata: session}
	can := func(entitlement string, groups ...string) api.PermissionInfo {
		return api.PermissionInfo{Permission: api.Permission{EntityType: "instance", EntityReference: "/1.0/instances/c1?project=default", Entitlement: entitlement}, Groups: groups}
	}
	all := []api.PermissionInfo{can("can_view"), can("can_exec", "web", "dba"), can("can_edit"), can("can_delete"), can("can_access_console"),
		{Permission: api.Permission{EntityType: "server", EntityReference: "/1.0", Entitlement: "admin"}}}
	out["GET /1.0/auth/permissions"] = answer{metadata: all}
}

func server() api.Server {
	s := api.Server{AuthUserName: "root", AuthUserMethod: "unix"}
	s.APIExtensions = []string{"instances_state_selective_recursion", "instance_create_start", "instance_force_delete"}
	s.Config = map[string]any{"core.https_address": "[::]:8443"}
	s.Environment.ServerVersion, s.Environment.ServerName = "6.7", "box"
	return s
}

func fixtureImages(out map[string]answer) {
	image := api.Image{Fingerprint: fingerprint, Size: 1032652, Architecture: "x86_64", Type: "container", UploadedAt: day, CreatedAt: day, Filename: "bb.tar.gz",
		Aliases: []api.ImageAlias{{Name: "busybox"}, {Name: "bb", Description: "small"}}, Properties: map[string]string{"description": "busybox amd64", "os": "busybox"}, Profiles: []string{"default"}}
	alias := api.ImageAliasesEntry{Name: "bb", Type: "container", Target: fingerprint, Description: "small"}
	out["GET /1.0/images"] = answer{metadata: []api.Image{image}}
	out["GET /1.0/images/"+fingerprint] = answer{metadata: image, etag: "e-image"}
	out["GET /1.0/images/a177"] = answer{metadata: image}
	out["GET /1.0/images/aliases"] = answer{metadata: []api.ImageAliasesEntry{alias}, names: []string{"/1.0/images/aliases/bb"}}
	out["GET /1.0/images/aliases/bb"] = answer{metadata: alias}
	out["POST /1.0/images"] = answer{async: true, meta: map[string]any{"fingerprint": fingerprint}}
	out["DELETE /1.0/images/"+fingerprint] = answer{async: true}
}

func fixturePlaces(out map[string]answer) {
	profile := api.Profile{Name: "default", Description: "Default LXD profile", Project: "default", Config: map[string]string{"user.a": "b"}, UsedBy: []string{"/1.0/instances/c2", "/1.0/instances/c1"},
		Devices: map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "default"}, "eth0": {"type": "nic", "network": "lxdbr0", "name": "eth0"}}}
	pool := api.StoragePool{Name: "default", Driver: "dir", Status: "Created", Config: map[string]string{"source": "/pool"}, UsedBy: []string{"/1.0/profiles/default", "/1.0/instances/c1?project=web"}, Locations: []string{"none"}}
	network := api.Network{Name: "lxdbr0", Type: "bridge", Managed: true, Status: "Created", Config: map[string]string{"ipv4.address": "10.1.0.1/24", "ipv6.address": "none"}, Locations: []string{"none"}}
	host := api.Network{Name: "eth7", Type: "physical"}
	volume := api.StorageVolume{Name: "c1", Type: "container", Pool: "default", ContentType: "filesystem", Project: "default", Location: "none", UsedBy: []string{"/1.0/instances/c1"}}
	out["GET /1.0/profiles"] = answer{metadata: []api.Profile{profile}, names: []string{"/1.0/profiles/default"}}
	out["GET /1.0/profiles/default"] = answer{metadata: profile, etag: "e-profile"}
	out["POST /1.0/profiles/default"] = answer{code: http.StatusForbidden, text: `The "default" profile cannot be renamed`}
	out["GET /1.0/storage-pools"] = answer{metadata: []api.StoragePool{pool}, names: []string{"/1.0/storage-pools/default"}}
	out["GET /1.0/storage-pools/default"] = answer{metadata: pool, etag: "e-pool"}
	out["GET /1.0/storage-pools/default/resources"] = answer{metadata: api.ResourcesStoragePool{Space: api.ResourcesStoragePoolSpace{Used: 5 << 30, Total: 20 << 30}}}
	out["GET /1.0/storage-pools/default/volumes"] = answer{metadata: []api.StorageVolume{volume}}
	out["GET /1.0/storage-volumes"] = answer{metadata: []api.StorageVolume{volume}}
	out["GET /1.0/storage-pools/default/volumes/container/c1"] = answer{metadata: volume}
	out["GET /1.0/networks"] = answer{metadata: []api.Network{network, host, {Name: "lo", Type: "loopback"}}, names: []string{"/1.0/networks/lxdbr0", "/1.0/networks/lo"}}
	out["GET /1.0/networks/lxdbr0"] = answer{metadata: network, etag: "e-net"}
	forward := api.NetworkForward{ListenAddress: "192.0.2.1", Location: "none", Config: map[string]string{"target_address": "10.1.0.5"}, Ports: []api.NetworkForwardPort{
		{Protocol: "tcp", ListenPort: "22", TargetAddress: "10.1.0.5"}, {Protocol: "tcp", ListenPort: "80,81", TargetAddress: "10.1.0.6", TargetPort: "8080"},
		{Protocol: "udp", ListenPort: "53", TargetAddress: "10.1.0.6"}}}
	out["GET /1.0/networks/lxdbr0/forwards"] = answer{metadata: []api.NetworkForward{forward}}
	out["GET /1.0/networks/lxdbr0/forwards/192.0.2.1"] = answer{metadata: forward, etag: "e-forward"}
	balancer := api.NetworkLoadBalancer{ListenAddress: "192.0.2.9", Backends: []api.NetworkLoadBalancerBackend{{Name: "b1", TargetAddress: "10.1.0.5"}},
		Ports: []api.NetworkLoadBalancerPort{{Protocol: "tcp", ListenPort: "80", TargetBackend: []string{"b1"}}}}
	out["GET /1.0/networks/lxdbr0/load-balancers"] = answer{metadata: []api.NetworkLoadBalancer{balancer}}
	out["GET /1.0/networks/lxdbr0/load-balancers/192.0.2.9"] = answer{metadata: balancer, etag: "e-balancer"}
	acl := api.NetworkACL{Name: "web", Description: "of the web", Ingress: []api.NetworkACLRule{{Action: "allow", State: "enabled", Protocol: "tcp"}, {Action: "allow", State: "logged"}},
		UsedBy: []string{"/1.0/networks/lxdbr0"}}
	out["GET /1.0/network-acls"] = answer{metadata: []api.NetworkACL{acl}}
	out["GET /1.0/network-acls/web"] = answer{metadata: acl, etag: "e-acl"}
	out["GET /1.0/network-allocations"] = answer{metadata: []api.NetworkAllocations{{Address: "10.1.0.1/24", UsedBy: "/1.0/networks/lxdbr0", Type: "network", NAT: true},
		{Address: "10.1.0.5/32", UsedBy: "/1.0/instances/c1", Type: "instance", Hwaddr: "00:16:3e:01:02:03"}}}
	out["GET /1.0/networks/eth7"] = answer{metadata: host}
	out["GET /1.0/networks/lxdbr0/leases"] = answer{metadata: []api.NetworkLease{{Hostname: "c1", Hwaddr: "00:16:3e:01:02:03", Address: "10.1.0.5", Type: "dynamic"}}}
	out["GET /1.0/networks/lxdbr0/state"] = answer{metadata: api.NetworkState{Hwaddr: "00:16:3e:00:00:01", Mtu: 1500, State: "up", Type: "broadcast",
		Addresses: []api.NetworkStateAddress{{Family: "inet", Address: "10.1.0.1", Netmask: "24", Scope: "global"}},
		Counters:  api.NetworkStateCounters{BytesReceived: 5100, PacketsReceived: 77},
		Bridge:    &api.NetworkStateBridge{ID: "8000.00163e000001", ForwardDelay: 1500, UpperDevices: []string{"veth1"}}}}
	out["GET /1.0/resources"] = answer{metadata: api.Resources{
		CPU: api.ResourcesCPU{Architecture: "x86_64", Sockets: []api.ResourcesCPUSocket{{Vendor: "Acme", Name: "Fast", Cache: []api.ResourcesCPUCache{{Level: 1, Type: "Data", Size: 48 << 10}},
			Cores: []api.ResourcesCPUCore{{Threads: []api.ResourcesCPUThread{{Online: true}}}}}}},
		Memory:  api.ResourcesMemory{Used: 1 << 30, Total: 4 << 30},
		Network: api.ResourcesNetwork{Cards: []api.ResourcesNetworkCard{{PCIAddress: "0000:00:03.0", Driver: "virtio", DriverVersion: "6"}}},
		Storage: api.ResourcesStorage{Disks: []api.ResourcesStorageDisk{{ID: "vda", Size: 1 << 40}, {ID: "vdb", Size: 1 << 30}}}}}
	moreFixture(out)
}

func moreFixture(out map[string]answer) {
	web := api.Project{Name: "web", Description: "The web", Config: map[string]string{"features.images": "true", "features.profiles": "false", "user.a": "b"}, UsedBy: []string{"/1.0/instances/c1?project=web"}}
	main := api.Project{Name: "default", Config: map[string]string{"features.images": "true", "features.profiles": "true", "features.storage.volumes": "true", "features.storage.buckets": "true", "features.networks": "true"}}
	out["GET /1.0/projects"] = answer{metadata: []api.Project{main, web}, names: []string{"/1.0/projects/default", "/1.0/projects/web"}}
	out["GET /1.0/projects/web"] = answer{metadata: web, etag: "e-web"}
	out["GET /1.0/projects/web/state"] = answer{metadata: api.ProjectState{Resources: map[string]api.ProjectStateResource{"instances": {Limit: 5, Usage: 1}, "memory": {Limit: -1, Usage: 3 << 30}, "disk": {Limit: 1 << 40}}}}
	out["DELETE /1.0/projects/web2"] = answer{async: true}
	out["DELETE /1.0/projects/web"] = answer{async: true, fail: "busy"}
	out["POST /1.0/projects/web"] = answer{async: true}
	seen := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	warnings := []api.Warning{
		{UUID: "4c9a", Type: "Instance type not operational", Count: 2, Severity: "low", Status: "new", FirstSeenAt: seen, LastSeenAt: seen.Add(time.Hour), LastMessage: "no KVM", Project: "web"},
		{UUID: "5d0b", Type: "Failed to start network", Count: 1, Severity: "moderate", Status: "resolved", FirstSeenAt: seen, LastSeenAt: seen}}
	out["GET /1.0/warnings"] = answer{metadata: warnings, names: []string{"/1.0/warnings/4c9a", "/1.0/warnings/5d0b"}}
	described := func(key, kind string) map[string]api.MetadataConfigurationConfigKeys {
		return map[string]api.MetadataConfigurationConfigKeys{"some": {Keys: []map[string]api.MetadataConfigurationConfigKey{{key: {Type: kind}, "user.*": {Type: "string"}}}}}
	}
	entitled := func(names ...string) (out api.MetadataConfigurationEntity) {
		for _, name := range names {
			out.Entitlements = append(out.Entitlements, api.MetadataConfigurationEntityEntitlement{Name: name})
		}
		return out
	}
	entities := map[string]api.MetadataConfigurationEntity{"server": entitled("admin", "viewer"), "instance": entitled("can_view", "can_exec"), "storage_volume": entitled("can_edit")}
	for _, name := range []string{"instance", "storage_volume"} {
		e := entities[name]
		e.ProjectSpecific = true
		entities[name] = e
	}
	out["GET /1.0/metadata/configuration"] = answer{metadata: api.MetadataConfiguration{Entities: entities, Configs: map[string]map[string]api.MetadataConfigurationConfigKeys{
		"instance": described("boot.autostart", "bool"), "server": described("core.https_address", "string"), "network-bridge": described("ipv4.nat", "bool"),
		"network-acl": described("ipv4.not", "bool"), "device-disk": described("path", "string"), "device-nic-bridged": described("network", "string")}}}
	out["GET /1.0/instances/c1/snapshots"] = answer{names: []string{"/1.0/instances/c1/snapshots/snap0", "/1.0/instances/c1/snapshots/snap1"}}
	out["GET /1.0/instances/c1/snapshots/snap0"] = answer{metadata: api.InstanceSnapshot{Name: "snap0"}}
	out["GET /1.0/storage-pools/default/volumes/custom"] = answer{names: []string{"/1.0/storage-pools/default/volumes/custom/data"}}
	out["GET /1.0/warnings/4c9a"] = answer{metadata: warnings[0], etag: "e-w"}
}

// clusterFixture makes the server one of a cluster.
func clusterFixture(out map[string]answer) {
	s := server()
	s.Environment.ServerClustered = true
	out["GET /1.0"] = answer{metadata: s, etag: "e-server"}
	member := api.ClusterMember{ServerName: "s1", URL: "https://10.0.0.1:8443", Status: "Online", Message: "Fully operational", Architecture: "x86_64", Roles: []string{"database", "event-hub"},
		FailureDomain: "rack1", Config: map[string]string{"user.a": "b"}, Groups: []string{"default"}}
	group := api.ClusterGroup{Name: "fast", Description: "Fast disks", Members: []string{"s1"}}
	token := api.Operation{ID: "t1", Class: "token", Status: "Running", StatusCode: 103, Metadata: map[string]any{"serverName": "s2", "secret": "x", "fingerprint": "f", "addresses": []string{"10.0.0.1:8443"}, "expiresAt": day}}
	out["GET /1.0/cluster/members"] = answer{metadata: []api.ClusterMember{member}, names: []string{"/1.0/cluster/members/s1"}}
	out["GET /1.0/cluster/members/s1"] = answer{metadata: member, etag: "e-s1"}
	out["GET /1.0/cluster/members/s1/state"] = answer{metadata: api.ClusterMemberState{SysInfo: api.ClusterMemberSysInfo{Uptime: 60, LogicalCPUs: 4}}}
	out["POST /1.0/cluster/members/s1/state"] = answer{async: true}
	out["GET /1.0/cluster/groups"] = answer{metadata: []api.ClusterGroup{group}, names: []string{"/1.0/cluster/groups/fast"}}
	out["GET /1.0/cluster/groups/fast"] = answer{metadata: group, etag: "e-fast"}
	out["POST /1.0/cluster/members"] = answer{async: true, class: "token", meta: token.Metadata}
	out["GET /1.0/operations"] = answer{metadata: map[string][]api.Operation{"running": {token}}}
}
