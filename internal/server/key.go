package server

import (
	"lxd/internal/loki"
	"lxd/internal/schema"
)

// Keys that others than this package act on.
const (
	// HTTPSAddress is where the API is served to the network.
	HTTPSAddress = "core.https_address"
	// MetricsAddress is where the metrics alone are served to the network.
	MetricsAddress = "core.metrics_address"
	// DebugAddress is where the daemon shows what it does inside, without encryption.
	DebugAddress = "core.debug_address"
	// MetricsAuthentication is whether the metrics are for trusted clients only.
	MetricsAuthentication = "core.metrics_authentication"
	// ACMEDomain is the name that a certificate is asked for, at the service whose directory is ACMEDirectory, for the account with the address
	// ACMEEmail. ACMEAgreed is whether its terms are agreed to.
	ACMEDomain    = "acme.domain"
	ACMEDirectory = "acme.ca_url"
	ACMEEmail     = "acme.email"
	ACMEAgreed    = "acme.agree_tos"
	// ProxyHTTP, ProxyHTTPS and ProxyIgnore are the proxies that other servers are reached by.
	ProxyHTTP   = "core.proxy_http"
	ProxyHTTPS  = "core.proxy_https"
	ProxyIgnore = "core.proxy_ignore_hosts"
	// BackupCompression is how backups are compressed; projects have it too.
	BackupCompression = "backups.compression_algorithm"
	// TrustAuthority is whether the authority's word is enough for a client to be trusted.
	TrustAuthority = "core.trust_ca_certificates"
	// HostNames is how the host's sides of NICs are named.
	HostNames = "instances.nic.host_name"
	// SyslogSocket is whether log messages are taken from a socket in the state folder.
	SyslogSocket = "core.syslog_socket"
	// LokiURL is where events are sent; the other keys are how, and which.
	LokiURL       = "loki.api.url"
	LokiAuthority = "loki.api.ca_cert"
	LokiUsername  = "loki.auth.username"
	LokiPassword  = "loki.auth.password"
	LokiInstance  = "loki.instance"
	LokiLabels    = "loki.labels"
	LokiLevel     = "loki.loglevel"
	LokiTypes     = "loki.types"
	// TokenExpiry is how long a token for adding a client is valid.
	TokenExpiry = "core.remote_token_expiry"
	// AuthSecretExpiry is how long a secret that the server signs sessions with is used.
	AuthSecretExpiry = "core.auth_secret_expiry"
	// OIDCIssuer and the others say which tokens of an OpenID Connect issuer are accepted.
	OIDCIssuer        = "oidc.issuer"
	OIDCClientID      = "oidc.client.id"
	OIDCClientSecret  = "oidc.client.secret"
	OIDCAudience      = "oidc.audience"
	OIDCGroupsClaim   = "oidc.groups.claim"
	OIDCScopes        = "oidc.scopes"
	OIDCSessionExpiry = "oidc.session.expiry"
	// UUID is the identity of this server.
	UUID = uuidKey
)

// later marks a key whose feature does not exist yet.
func later(k schema.Key) schema.Key {
	k.Later = true
	return k
}

// Keys is the table of the server's configuration.
func Keys() *schema.Schema { return keys }

var keys = schema.New("server",
	// acme
	schema.Key{Name: ACMEAgreed, Type: schema.Bool, Default: "false", Short: "Whether the terms of the ACME service are agreed to"},
	schema.Key{Name: ACMEDirectory, Type: schema.String, Check: isDirectory, Default: "https://acme-v02.api.letsencrypt.org/directory", Short: "Directory URL of the ACME service"},
	schema.Key{Name: ACMEDomain, Type: schema.String, Check: isDomain, Short: "Domain for which the certificate is asked"},
	schema.Key{Name: ACMEEmail, Type: schema.String, Check: isMail, Short: "Mail address of the ACME account"},
	// cluster
	later(schema.Key{Name: "cluster.healing_threshold", Type: schema.Integer, Default: "0", Short: "Seconds after which an offline member is evacuated; 0 never does"}),
	later(schema.Key{Name: "cluster.https_address", Type: schema.String, Local: true, Short: "Address for the traffic between members"}),
	later(schema.Key{Name: "cluster.images_minimal_replica", Type: schema.Integer, Default: "3", Short: "On how many members an image is kept; -1 is all"}),
	later(schema.Key{Name: "cluster.join_token_expiry", Type: schema.String, Default: "3H", Short: "How long a join token is valid"}),
	later(schema.Key{Name: "cluster.max_standby", Type: schema.Integer, Default: "2", Short: "How many members stand by to become voters"}),
	later(schema.Key{Name: "cluster.max_voters", Type: schema.Integer, Default: "3", Short: "How many members vote; an odd number from 3"}),
	later(schema.Key{Name: "cluster.offline_threshold", Type: schema.Integer, Default: "20", Short: "Seconds without a sign of life after which a member counts as offline"}),
	// core
	schema.Key{Name: AuthSecretExpiry, Type: schema.Expiry, Check: isSpan, Default: "1m", Short: "How long a secret for authentication is used before it is replaced"},
	later(schema.Key{Name: "core.bgp_address", Type: schema.String, Local: true, Short: "Address of the BGP server"}),
	later(schema.Key{Name: "core.bgp_asn", Type: schema.String, Default: "0", Short: "Autonomous system number of the BGP server"}),
	later(schema.Key{Name: "core.bgp_routerid", Type: schema.String, Local: true, Short: "Router identifier of the BGP server"}),
	schema.Key{Name: DebugAddress, Type: schema.String, Check: isAddress, Local: true, Short: "Address of the debugging server"},
	later(schema.Key{Name: "core.dns_address", Type: schema.String, Local: true, Short: "Address of the authoritative DNS server"}),
	schema.Key{Name: HTTPSAddress, Type: schema.String, Check: isAddress, Local: true, Short: "Address on which the API is served to the network"},
	schema.Key{Name: "core.https_allowed_credentials", Type: schema.Bool, Default: "false", Short: "Whether other web sites may send credentials"},
	schema.Key{Name: "core.https_allowed_headers", Type: schema.String, Short: "Value of the Access-Control-Allow-Headers header"},
	schema.Key{Name: "core.https_allowed_methods", Type: schema.String, Short: "Value of the Access-Control-Allow-Methods header"},
	schema.Key{Name: "core.https_allowed_origin", Type: schema.String, Short: "Value of the Access-Control-Allow-Origin header"},
	schema.Key{Name: "core.https_trusted_proxy", Type: schema.String, Check: areIPs, Short: "Addresses of proxies that may announce the client with the PROXY protocol"},
	schema.Key{Name: MetricsAddress, Type: schema.String, Check: isAddress, Local: true, Short: "Address on which the metrics are served"},
	schema.Key{Name: MetricsAuthentication, Type: schema.Bool, Default: "true", Short: "Whether the metrics need authentication"},
	schema.Key{Name: ProxyHTTP, Type: schema.String, Check: isProxy, Short: "Proxy for outgoing HTTP; the environment's if empty"},
	schema.Key{Name: ProxyHTTPS, Type: schema.String, Check: isProxy, Short: "Proxy for outgoing HTTPS; the environment's if empty"},
	schema.Key{Name: ProxyIgnore, Type: schema.String, Short: "Hosts that are reached without a proxy"},
	schema.Key{Name: TokenExpiry, Type: schema.Expiry, Default: "15d", Short: "How long a token for adding a client is valid"},
	schema.Key{Name: "core.shutdown_timeout", Type: schema.Between(0, 1<<31-1), Default: "5", Short: "Minutes that a shutdown waits for running operations"},
	later(schema.Key{Name: "core.storage_buckets_address", Type: schema.String, Local: true, Short: "Address of the object storage server"}),
	schema.Key{Name: SyslogSocket, Type: schema.Bool, Default: "false", Local: true, Short: "Whether log messages are taken from a syslog socket"},
	schema.Key{Name: TrustAuthority, Type: schema.Bool, Default: "false", Short: "Whether clients signed by the CA are trusted by themselves"},
	// images
	schema.Key{Name: "images.auto_update_cached", Type: schema.Bool, Default: "true", Short: "Whether cached images are kept up to date"},
	schema.Key{Name: "images.auto_update_interval", Type: schema.Between(0, 1<<20), Default: "6", Short: "Hours between checks for newer images; 0 never checks"},
	schema.Key{Name: "images.compression_algorithm", Type: schema.String, Check: isCompression, Default: "gzip", Short: "Compression of new images"},
	schema.Key{Name: "images.default_architecture", Type: schema.String, Check: isArchitecture, Short: "Architecture of images in a cluster of several architectures"},
	schema.Key{Name: "images.remote_cache_expiry", Type: schema.Between(0, 1<<16), Default: "10", Short: "Days after which an unused cached image is removed"},
	// loki
	schema.Key{Name: LokiAuthority, Type: schema.Blob, Check: loki.CheckAuthority, Short: "CA certificate of the Loki server"},
	schema.Key{Name: LokiURL, Type: schema.String, Check: loki.CheckURL, Short: "URL of the Loki server"},
	schema.Key{Name: LokiPassword, Type: schema.String, Secret: true, Short: "Password for the Loki server"},
	schema.Key{Name: LokiUsername, Type: schema.String, Short: "User name for the Loki server"},
	schema.Key{Name: LokiInstance, Type: schema.String, Short: "Name of this server in Loki's events; that of the host if empty"},
	schema.Key{Name: LokiLabels, Type: schema.String, Short: "Values that become labels of Loki's log lines"},
	schema.Key{Name: LokiLevel, Type: schema.String, Check: loki.CheckLevel, Default: loki.DefaultLevel, Short: "Least level of messages that are sent to Loki"},
	schema.Key{Name: LokiTypes, Type: schema.String, Check: loki.CheckTypes, Default: loki.DefaultTypes, Short: "Types of events that are sent to Loki"},
	// miscellaneous
	schema.Key{Name: BackupCompression, Type: schema.String, Check: isCompression, Default: "gzip", Short: "How backups are compressed: a program, and perhaps a level"},
	later(schema.Key{Name: "instances.migration.stateful", Type: schema.Bool, Default: "false", Short: "Whether new instances can be migrated with their state"}),
	schema.Key{Name: HostNames, Type: schema.OneOf("random", "mac"), Default: "random", Short: "How the host side of a NIC is named"},
	later(schema.Key{Name: "maas.api.key", Type: schema.String, Secret: true, Short: "API key of the MAAS server"}),
	later(schema.Key{Name: "maas.api.url", Type: schema.String, Short: "URL of the MAAS server"}),
	later(schema.Key{Name: "maas.machine", Type: schema.String, Local: true, Short: "Name of this host in MAAS"}),
	later(schema.Key{Name: "network.ovn.ca_cert", Type: schema.Blob, Default: "file:/etc/ovn/ovn-central.crt", Short: "CA certificate of the OVN database"}),
	later(schema.Key{Name: "network.ovn.client_cert", Type: schema.Blob, Default: "file:/etc/ovn/cert_host", Short: "Client certificate for the OVN database"}),
	later(schema.Key{Name: "network.ovn.client_key", Type: schema.Blob, Default: "file:/etc/ovn/key_host", Secret: true, Short: "Client key for the OVN database"}),
	later(schema.Key{Name: "network.ovn.integration_bridge", Type: schema.String, Default: "br-int", Short: "Integration bridge of OVN"}),
	later(schema.Key{Name: "network.ovn.northbound_connection", Type: schema.String, Default: "unix:/var/run/ovn/ovnnb_db.sock", Short: "Connection to OVN's northbound database"}),
	schema.Key{Name: "storage.backups_volume", Type: schema.String, Check: isVolume, Local: true, Short: "Volume in which backups are kept, as POOL/VOLUME"},
	schema.Key{Name: "storage.images_volume", Type: schema.String, Check: isVolume, Local: true, Short: "Volume in which images are kept, as POOL/VOLUME"},
	schema.Key{Name: "storage.project.<name>.backups_volume", Type: schema.String, Check: isVolume, Local: true, Short: "Volume in which the project's backups are kept, as POOL/VOLUME"},
	schema.Key{Name: "storage.project.<name>.images_volume", Type: schema.String, Check: isVolume, Local: true, Short: "Volume in which the project's images are kept, as POOL/VOLUME"},
	later(schema.Key{Name: "user.instances.placement.scriptlet", Type: schema.Blob, Short: "Program in Starlark that chooses the member of a new instance"}),
	schema.Key{Name: "volatile.uuid", Type: schema.String, Volatile: true, Short: "Identity of this server, made at its first start"},
	// oidc
	schema.Key{Name: OIDCAudience, Type: schema.String, Check: schema.OneLine, Short: "Audience that tokens must name"},
	schema.Key{Name: OIDCClientID, Type: schema.String, Check: schema.OneLine, Short: "Client identifier at the OpenID Connect issuer"},
	schema.Key{Name: OIDCClientSecret, Type: schema.String, Secret: true, Short: "Client secret at the OpenID Connect issuer"},
	schema.Key{Name: OIDCGroupsClaim, Type: schema.String, Check: schema.OneLine, Short: "Claim of the token that names the groups"},
	schema.Key{Name: OIDCIssuer, Type: schema.String, Check: isIssuer, Short: "URL of the OpenID Connect issuer"},
	schema.Key{Name: OIDCScopes, Type: schema.String, Check: areScopes, Default: "openid email offline_access profile", Short: "Scopes that are asked of the issuer"},
	schema.Key{Name: OIDCSessionExpiry, Type: schema.Expiry, Check: isSpan, Default: "1w", Short: "How long a session lasts"},
	schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free for the user"},
)
