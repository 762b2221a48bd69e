// Package proxy carries connections between the host and an instance, in either direction.
package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/host/relay"
	"lxd/internal/schema"
)

// Relays runs the processes that carry connections. The methods are idempotent.
type Relays interface {
	Start(ctx context.Context, name string, j relay.Job) error
	Stop(ctx context.Context, name string) error
}

// bindings are where the device listens; guest is an older word for instance.
const (
	onHost     = "host"
	onInstance = "instance"
	onGuest    = "guest"
)

func keys() *schema.Schema {
	id := schema.Between(0, 1<<32-2)
	return schema.New("proxy device",
		schema.Key{Name: "bind", Type: schema.OneOf(onHost, onInstance, onGuest), Default: onHost, Short: "Side to listen on"},
		schema.Key{Name: "connect", Type: schema.String, Short: "Address and port to connect to, such as tcp:127.0.0.1:80"},
		schema.Key{Name: "gid", Type: id, Default: "0", Short: "Group of the listening Unix socket"},
		schema.Key{Name: "listen", Type: schema.String, Short: "Address and port to listen on, such as tcp:0.0.0.0:80"},
		schema.Key{Name: "mode", Type: schema.Type{Name: "mode", OK: func(s string) error { _, err := mode(s); return err }}, Default: "0644", Short: "Mode of the listening Unix socket"},
		schema.Key{Name: "nat", Type: schema.Bool, Default: "false", Short: "Whether the firewall rewrites packets instead"},
		schema.Key{Name: "proxy_protocol", Type: schema.Bool, Default: "false", Short: "Whether the PROXY protocol tells who the client is"},
		schema.Key{Name: "security.gid", Type: id, Default: "0", Short: "Group to connect as"},
		schema.Key{Name: "security.uid", Type: id, Default: "0", Short: "User to connect as"},
		schema.Key{Name: "uid", Type: id, Default: "0", Short: "Owner of the listening Unix socket"},
		schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free to use"},
	)
}

func mode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil || n > 0o777 {
		return 0, errors.New("must be an octal mode such as 0644")
	}
	return fs.FileMode(n), nil
}

// Kind is the kind of proxies.
func Kind(relays Relays, nat NAT) device.Kind {
	k := keys()
	return device.Kind{Type: "proxy", Keys: k, New: func(_ context.Context, env device.Env, cfg device.Config) (device.Device, error) {
		p := &proxy{relays: relays, nat: nat, env: env, keys: k, cfg: cfg}
		if env.Leaving {
			return p, nil
		}
		if err := p.parse(); err != nil {
			return nil, fmt.Errorf("proxy %s: %w", env.Name, err)
		}
		return p, nil
	}}
}

// proxy is one proxy of one instance.
type proxy struct {
	relays Relays
	nat    NAT
	env    device.Env
	keys   *schema.Schema
	cfg    device.Config

	listen, connect address
	rules           []relay.Rule
	// inside tells that the device listens in the instance.
	inside bool
}

func (p *proxy) parse() (err error) {
	own := map[string]string{}
	for key, v := range p.cfg {
		if key != "type" {
			own[key] = v
		}
	}
	if err := p.keys.Validate(own); err != nil {
		return err
	}
	for _, key := range []string{"listen", "connect"} {
		if p.cfg[key] == "" {
			return errs.Newf(errs.Invalid, "%q is missing: it needs an address and port, such as tcp:127.0.0.1:80", key)
		}
	}
	if p.listen, err = parse(p.cfg["listen"]); err != nil {
		return fmt.Errorf("\"listen\": %w", err)
	}
	if p.connect, err = parse(p.cfg["connect"]); err != nil {
		return fmt.Errorf("\"connect\": %w", err)
	}
	if p.rules, err = rules(p.listen, p.connect); err != nil {
		return err
	}
	p.inside = p.keys.Get(p.cfg, "bind") != onHost
	return errors.Join(p.checkSocket(), p.checkHeader(), p.checkNAT())
}

// checkSocket refuses what only the file of a socket has.
func (p *proxy) checkSocket() error {
	if p.listen.network != relay.Unix || p.listen.path[0] == '@' {
		for _, key := range []string{"uid", "gid", "mode"} {
			if p.cfg[key] != "" {
				return errs.Newf(errs.Invalid, "%q is for listening on the path of a Unix socket only", key)
			}
		}
	}
	if len(p.rules) > mostPorts && !p.translates() {
		return errs.Newf(errs.Invalid, "%d ports are more than the %d that can be carried: use nat=true, which has no limit", len(p.rules), mostPorts)
	}
	return nil
}

func (p *proxy) checkHeader() error {
	if p.keys.Bool(p.cfg, "proxy_protocol") && (p.connect.network != relay.TCP && p.connect.network != relay.Unix || p.translates()) {
		return errs.Newf(errs.Invalid, "\"proxy_protocol\" is for connections over TCP or Unix sockets without \"nat\"")
	}
	return nil
}

func (p *proxy) translates() bool { return p.keys.Bool(p.cfg, "nat") }

// Attach implements device.Device: it has no effects, Start has.
func (p *proxy) Attach(context.Context) (device.Grant, error) { return device.Grant{}, nil }

// Start implements device.Starter.
func (p *proxy) Start(ctx context.Context, m device.Machine) error {
	if p.translates() {
		return p.translate(ctx)
	}
	j, err := p.job(m)
	if err == nil {
		err = p.relays.Start(ctx, p.name(), j)
	}
	if err != nil {
		return fmt.Errorf("proxy %s: %w", p.env.Name, err)
	}
	return nil
}

// Detach implements device.Device.
func (p *proxy) Detach(ctx context.Context) error {
	err := p.relays.Stop(ctx, p.name())
	if p.nat != nil {
		err = errors.Join(err, p.nat.Untranslate(ctx, p.name()))
	}
	return err
}

// name is that of the relay: letters and digits, the same for the same device at any time.
func (p *proxy) name() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{p.env.Project, p.env.Instance, p.env.Name}, "\x00")))
	return fmt.Sprintf("%x", sum[:8])
}

// job is what the relay needs.
func (p *proxy) job(m device.Machine) (j relay.Job, err error) {
	j = relay.Job{On: m, Config: relay.Config{Rules: p.rules, Header: p.keys.Bool(p.cfg, "proxy_protocol"), Inside: !p.inside, Machine: strconv.Itoa(m.PID())}}
	if j.RootUID, j.RootGID, err = p.mapped(0, 0); err != nil {
		return j, err
	}
	if j.Owner.Mode, err = mode(p.keys.Get(p.cfg, "mode")); err != nil {
		return j, err
	}
	owner, ownerGroup, uid, gid := p.number("uid"), p.number("gid"), p.number("security.uid"), p.number("security.gid")
	if p.inside {
		j.UID, j.GID = uid, gid
		j.Owner.UID, j.Owner.GID, err = p.mapped(owner, ownerGroup)
		return j, err
	}
	j.Owner.UID, j.Owner.GID = owner, ownerGroup
	j.UID, j.GID, err = p.mapped(uid, gid)
	return j, err
}

func (p *proxy) number(key string) int {
	n, _ := strconv.Atoi(p.keys.Get(p.cfg, key)) // it was validated
	return n
}

// mapped turns ids inside into ids of the host.
func (p *proxy) mapped(uid, gid int) (int, int, error) {
	if len(p.env.IDMap) == 0 {
		return uid, gid, nil
	}
	u, okU := p.hostID(uid)
	g, okG := p.hostID(gid)
	if !okU || !okG {
		return 0, 0, errs.Newf(errs.Invalid, "user %d or group %d does not exist in the instance, whose ids end before", uid, gid)
	}
	return u, g, nil
}

func (p *proxy) hostID(inside int) (int, bool) {
	for _, r := range p.env.IDMap {
		if id := int64(inside); id >= r.Inside && id < r.Inside+r.Size {
			return int(r.Host + id - r.Inside), true
		}
	}
	return 0, false
}
