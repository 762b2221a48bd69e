package source

import (
	"context"
	"errors"
	"io"
	"net/url"
	"sync"
	"time"

	"lxd/api"
	"lxd/client/simplestreams"
	"lxd/internal/errs"
)

// Protocols of servers (wire names). Direct is a plain address.
const (
	LXD           = "lxd"
	Simplestreams = "simplestreams"
	Direct        = "direct"
)

// Place says where an image is.
type Place struct {
	// Server is the address, https://….
	Server, Protocol string
	// Certificate, if any, is the only one that the server may have (PEM).
	Certificate string
	// Alias is the name there, for instances of type Type ("" is container); Fingerprint, or the beginning of one, is used if it is set.
	Alias, Fingerprint, Type string
	// Arch is the architecture that names stand for; "" is that of this server.
	Arch string
	// Secret lets one who is not trusted get an image from a server of this API; Project is the project there.
	Secret, Project string
	// Open lets requests go to addresses that are not everybody's; see Sources.
	Open bool
}

// Part is one file of an image that arrives.
type Part struct {
	// Name is "metadata" for the whole of a unified image or the first file of a split one; else "rootfs", or "rootfs.img" for a disk.
	Name string
	// Filename is what the server calls it.
	Filename string
	Body     io.Reader
}

// Found is an image that a server has.
type Found struct {
	// Info is what the server says of it. Its fingerprint must be that of the bytes. What a plain address says is the fingerprint alone.
	Info api.Image
	// Receive fetches the files in order.
	Receive func(ctx context.Context, take func(Part) error) error
}

// Sources finds images on other servers.
type Sources struct {
	// Arch is the architecture that names of images stand for.
	Arch string
	// Agent is what we call ourselves; Architectures and Version are told to plain addresses.
	Agent         string
	Architectures string
	// Proxy is asked before each request; nil is no proxies.
	Proxy Proxies

	mu      sync.Mutex
	servers map[serverKey]*known
}

// serverKey is what makes one client of an image server another than the next.
type serverKey struct {
	server, certificate, arch string
	open                      bool
}

// known is an image server that was asked before.
type known struct {
	*simplestreams.Server
	used time.Time
}

// Check fails on a place that cannot be one.
func (p Place) Check() error {
	u, err := url.Parse(p.Server)
	switch {
	case p.Protocol != LXD && p.Protocol != Simplestreams && p.Protocol != Direct:
		return errs.Newf(errs.Invalid, "unknown protocol %q of an image server: it is lxd or simplestreams", p.Protocol)
	case err != nil || u.Scheme != "https" || u.Host == "":
		return errs.Newf(errs.Invalid, "the address %q of the image server is not of the form https://…", p.Server)
	case u.User != nil:
		return errs.Newf(errs.Invalid, "the address of the image server has a password in it, which is not supported")
	case p.Protocol != Direct && p.Alias == "" && p.Fingerprint == "":
		return errs.Newf(errs.Invalid, "the source names no image: give it an alias or a fingerprint")
	}
	_, err = trust(p.Certificate)
	return err
}

// Find asks a server for an image. One that it does not have is NotFound, a server that cannot be asked Unavailable.
func (s *Sources) Find(ctx context.Context, p Place) (f Found, err error) {
	if err := p.Check(); err != nil {
		return f, err
	}
	switch p.Protocol {
	case Simplestreams:
		f, err = s.streams(ctx, p)
	case Direct:
		f, err = s.direct(ctx, p)
	default:
		f, err = s.lxd(ctx, p)
	}
	if err != nil && ctx.Err() == nil && errs.KindOf(err) == errs.Internal {
		err = errs.Newf(errs.Unavailable, "image server %s: %w", p.Server, err)
	}
	return f, err
}

func (s *Sources) client(p Place) client {
	return client{certificate: p.Certificate, proxy: s.Proxy, open: p.Open, stay: p.Protocol == LXD}
}

// maxServers is how many image servers are remembered.
const maxServers = 32

// server is the client of an image server; one that was asked before knows what it read.
func (s *Sources) server(p Place) (*simplestreams.Server, error) {
	if p.Arch == "" {
		p.Arch = s.Arch
	}
	key := serverKey{p.Server, p.Certificate, p.Arch, p.Open}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.servers[key]; k != nil {
		k.used = time.Now()
		return k.Server, nil
	}
	hc, err := s.client(p).http()
	if err != nil {
		return nil, err
	}
	srv, err := simplestreams.New(p.Server, p.Arch, hc)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "%w", err)
	}
	if s.servers == nil {
		s.servers = map[serverKey]*known{}
	}
	s.servers[key] = &known{srv, time.Now()}
	if len(s.servers) > maxServers {
		s.dropOldest()
	}
	return srv, nil
}

func (s *Sources) dropOldest() {
	var oldest serverKey
	for key, k := range s.servers {
		if o := s.servers[oldest]; o == nil || k.used.Before(o.used) {
			oldest = key
		}
	}
	delete(s.servers, oldest)
}

// streams finds an image on a server of static files.
func (s *Sources) streams(ctx context.Context, p Place) (Found, error) {
	srv, err := s.server(p)
	if err != nil {
		return Found{}, err
	}
	name := p.Fingerprint
	if name == "" {
		name = p.Alias
	}
	img, err := srv.Find(ctx, name, p.Type)
	if errors.Is(err, simplestreams.ErrNotFound) {
		return Found{}, errs.Newf(errs.NotFound, "%w", err)
	}
	if err != nil {
		return Found{}, err
	}
	receive := func(ctx context.Context, take func(Part) error) error {
		root := "rootfs"
		if img.VM() {
			root = "rootfs.img"
		}
		err := receiveFile(ctx, srv, Part{Name: "metadata", Filename: img.Filename}, img.Meta, take)
		if err == nil && img.Root.Path != "" {
			err = receiveFile(ctx, srv, Part{Name: root, Filename: img.Filename}, img.Root, take)
		}
		return err
	}
	return Found{Info: img.Image, Receive: receive}, nil
}

func receiveFile(ctx context.Context, srv *simplestreams.Server, part Part, f simplestreams.File, take func(Part) error) error {
	body, err := srv.Open(ctx, f)
	if err != nil {
		return err
	}
	defer body.Close()
	part.Body = steady(body)
	return take(part)
}
