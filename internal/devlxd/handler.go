package devlxd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/devlxd/cloudinit"
	"lxd/internal/errs"
	"lxd/internal/identity/bearer"
	"lxd/internal/instance"
	"lxd/internal/project"
	"lxd/internal/rest"
)

// States that a guest may say it is in (wire names).
const (
	started = "Started"
	ready   = "Ready"
)

// version is that of the guest API.
const version = "1.0"

// call is one request of a guest.
type call struct {
	*http.Request
	w     http.ResponseWriter
	s     *Service
	guest *guest
	instance.Guest
	// who is the identity that the caller shows itself to be by a token; untrusted is none.
	who auth.Identity
}

// handler is the whole guest API.
func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*call) error{
		"GET /{$}":                             func(c *call) error { return c.json([]string{"/1.0"}) },
		"GET /1.0":                             (*call).server,
		"PATCH /1.0":                           (*call).setState,
		"GET /1.0/config":                      (*call).keys,
		"GET /1.0/config/{key}":                (*call).key,
		"GET /1.0/meta-data":                   (*call).metaData,
		"GET /1.0/devices":                     func(c *call) error { return c.json(c.Guest.Devices) },
		"GET /1.0/events":                      (*call).events,
		"GET /1.0/images/{fingerprint}/export": (*call).image,
		"GET /1.0/ubuntu-pro":                  (*call).ubuntuPro,
		"POST /1.0/ubuntu-pro/token":           (*call).ubuntuProToken,
		"GET /1.0/instances/{name}":            (*call).volumes,
		"PATCH /1.0/instances/{name}":          (*call).volumes,
		"/1.0/storage-pools/{rest...}":         (*call).volumes,
		"DELETE /1.0/operations/{id}":          (*call).needsToken,
		"GET /1.0/operations/{id}/wait":        (*call).needsToken,
	} {
		mux.HandleFunc(pattern, s.serve(h))
	}
	return mux
}

// serve lets h answer if the caller is who it must be, and when it is its turn.
func (s *Service) serve(h func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		c := &call{Request: r, w: w, s: s}
		err := c.extend()
		if err == nil {
			err = c.admit()
		}
		if err == nil {
			err = h(c)
		}
		if err != nil {
			http.Error(w, err.Error(), rest.StatusOf(err))
		}
	}
}

// extend gives the guest time to take what is written next.
func (c *call) extend() error {
	return http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(writeTime))
}

// admit finds out who calls.
func (c *call) admit() error {
	conn, ok := c.Context().Value(connKey{}).(*connection)
	if !ok {
		return errs.Newf(errs.Internal, "the request came over no socket of an instance")
	}
	if err := conn.verified(); err != nil {
		return err
	}
	if err := conn.guest.turns.wait(c.Context()); err != nil {
		return err
	}
	var err error
	c.guest = conn.guest
	c.Guest, err = c.s.d.Instances.Guest(c.Context(), c.guest.at.Project, c.guest.at.Name)
	if token := bearer.TokenOf(c.Request); err == nil && token != "" && c.s.d.Bearers != nil {
		c.who, err = c.s.d.Bearers.Guest(c.Context(), token, "instance "+c.Project+"/"+c.Name)
	}
	return err
}

// verifying finds out once who is at the other end of a connection.
func (s *Service) verifying(c *connection) func() error {
	return sync.OnceValue(func() error { return s.d.Verify(c.UnixConn, c.guest.at) })
}

func (c *call) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	_, _ = c.w.Write(append(b, '\n')) // a guest that went away needs no answer
	return nil
}

// text answers with bytes as they are.
func (c *call) text(s string) error {
	c.w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(c.w, s) // a guest that went away needs no answer
	return nil
}

func (c *call) server() error {
	state := started
	if c.Ready {
		state = ready
	}
	drivers := []api.DevLXDServerStorageDriverInfo{}
	for _, d := range c.s.d.Drivers {
		drivers = append(drivers, api.DevLXDServerStorageDriverInfo{Name: d.Name, Remote: d.Remote})
	}
	open := api.DevLXDGetUntrusted{DevLXDPut: api.DevLXDPut{State: state}, APIVersion: version, InstanceType: string(c.Type),
		Location: c.Location, Auth: "untrusted", SupportedStorageDrivers: drivers}
	if !c.who.Trusted() {
		return c.json(open)
	}
	open.Auth = "trusted"
	return c.json(api.DevLXDGet{DevLXDGetUntrusted: open})
}

func (c *call) setState() error {
	var put api.DevLXDPut
	if err := json.NewDecoder(c.Body).Decode(&put); err != nil {
		return errs.Newf(errs.Internal, "request body: %w", err)
	}
	if put.State != started && put.State != ready {
		return errs.Newf(errs.Invalid, "state %q: it is %s or %s", put.State, started, ready)
	}
	if err := c.s.d.Instances.SetReady(c.Context(), c.Project, c.Name, put.State == ready); err != nil {
		return err
	}
	return c.text("")
}

func (c *call) keys() error {
	urls := []string{}
	for _, k := range cloudinit.Keys(c.Config) {
		urls = append(urls, "/1.0/config/"+k)
	}
	return c.json(urls)
}

func (c *call) key() error {
	key := c.PathValue("key")
	if !public(key) {
		return errs.Newf(errs.Forbidden, "only keys that begin with user. or cloud-init. can be read")
	}
	value := cloudinit.Value(c.Config, key)
	if value == "" {
		return errs.Newf(errs.NotFound, "the key is not set")
	}
	return c.text(value)
}

func (c *call) metaData() error {
	return c.text(fmt.Sprintf("#cloud-config\ninstance-id: %s\nlocal-hostname: %s\n%s",
		cmp.Or(c.Config["volatile.cloud-init.instance-id"], c.Name), c.Name, c.Config["user.meta-data"]))
}

// image sends an image that the server has from elsewhere, or shows to anybody: so that instances in instances need not fetch it again.
func (c *call) image() error {
	if err := c.sendImage(); err != nil {
		body, e := rest.Result(nil, err)
		if e != nil {
			return errors.Join(err, e)
		}
		c.w.Header().Set("Content-Type", "application/json")
		c.w.WriteHeader(rest.StatusOf(err))
		_, _ = c.w.Write(body) // a guest that went away needs no answer
	}
	return nil
}

func (c *call) sendImage() error {
	if !instance.Keys.Bool(c.Config, "security.devlxd.images") {
		return errs.Newf(errs.Forbidden, "security.devlxd.images is off for this instance")
	}
	if p := c.FormValue("project"); p != "" && p != project.Default {
		return errs.Newf(errs.Forbidden, "only images of the project %q can be had", project.Default)
	}
	img, _, err := c.s.d.Images.Get(c.Context(), project.Default, c.PathValue("fingerprint"))
	if err != nil {
		return err
	}
	if !img.Public && !img.Cached {
		return errs.Newf(errs.NotFound, "image not found")
	}
	parts, err := c.s.d.Images.Export(c.Context(), project.Default, img.Fingerprint)
	if err != nil {
		return err
	}
	defer func() {
		for _, p := range parts {
			_ = p.Close() // opened for reading: nothing can be lost
		}
	}()
	send(&slow{c.w, c}, c.Request, parts)
	return nil
}

// slow gives the guest time anew with each part of a long answer that it takes.
type slow struct {
	http.ResponseWriter
	c *call
}

// Write writes a part.
func (s *slow) Write(b []byte) (int, error) {
	if err := s.c.extend(); err != nil {
		return 0, err
	}
	return s.ResponseWriter.Write(b)
}

func (c *call) ubuntuPro() error {
	return c.json(api.DevLXDUbuntuProSettings{GuestAttach: instance.Keys.Get(c.Config, "ubuntu_pro.guest_attach")})
}

func (c *call) ubuntuProToken() error {
	return errs.Newf(errs.Forbidden, "ubuntu_pro.guest_attach is off for this instance")
}

// volumes is what an instance may do with volumes, for which it needs the right and a token.
func (c *call) volumes() error {
	if !instance.Keys.Bool(c.Config, "security.devlxd.management.volumes") {
		return errs.Newf(errs.Forbidden, "security.devlxd.management.volumes is off for this instance")
	}
	return c.needsToken()
}

func (c *call) needsToken() error {
	if !c.who.Trusted() {
		return errs.Newf(errs.Forbidden, "this needs a token: have one issued for an identity of the type %q", api.IdentityTypeDevLxdTokenBearer)
	}
	return errs.Newf(errs.Unsupported, "this server does not let instances manage volumes yet")
}
