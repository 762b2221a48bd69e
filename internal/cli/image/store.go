package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"

	"lxd/api"
	"lxd/client"
	"lxd/client/simplestreams"
	"lxd/internal/cli/command"
	"lxd/internal/cli/conf"
)

// Store is where images are looked up: a server of this API, or one that offers them as static files.
type Store struct {
	// Server is nil for a server of static files, which Streams is nil for others.
	Server  *client.Client
	Streams *simplestreams.Server

	app    *command.App
	name   string
	remote conf.Remote
	cert   string
}

// Open finds the store of "[remote:]name".
func Open(a *command.App, arg string) (s *Store, name string, err error) {
	cfg, err := a.Config()
	if err != nil {
		return nil, "", err
	}
	s = &Store{app: a}
	if s.name, name, err = cfg.Parse(arg); err != nil {
		return nil, "", err
	}
	if a.Flags.ForceLocal {
		s.name = conf.Local
	}
	s.remote, s.cert = cfg.Remotes[s.name], cfg.ServerCertificate(s.name)
	if s.remote.Protocol == "simplestreams" {
		s.Streams, err = simplestreams.New(s.remote.Addr, architecture(), webClient())
		return s, name, err
	}
	s.Server, _, err = a.Parse(s.name + ":")
	return s, name, err
}

// webClient reaches image servers, by the proxies of the environment.
func webClient() *http.Client {
	return &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("the image server sends us elsewhere too often")
		}
		if r.URL.Scheme != "https" {
			return errors.New("the image server sends us to an address that is not https")
		}
		return nil
	}}
}

// architecture is the kernel's name of what this program runs on.
func architecture() string {
	byGo := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l", "loong64": "loongarch64"}
	if name, ok := byGo[runtime.GOARCH]; ok {
		return name
	}
	return runtime.GOARCH
}

// Editable is the server, if images can be changed there.
func (s *Store) Editable() (*client.Client, error) {
	if s.Server == nil {
		return nil, fmt.Errorf("Remote %q is an image server, on which nothing can be changed", s.name)
	}
	return s.Server, nil
}

// kind is the type of instance that is meant.
func kind(vm bool) string {
	if vm {
		return string(api.InstanceTypeVirtualMachine)
	}
	return string(api.InstanceTypeContainer)
}

// Find reads the image that name, an alias or the beginning of a fingerprint, means.
func (s *Store) Find(ctx context.Context, name string, vm bool) (image *api.Image, etag string, err error) {
	image = &api.Image{}
	if s.Streams != nil {
		if name == "" {
			name = "default"
		}
		found, err := s.Streams.Find(ctx, name, kind(vm))
		return &found.Image, "", err
	}
	fingerprint, _, err := Resolve(s.app, s.Server, name)
	if err == nil {
		etag, err = s.Server.Get(ctx, client.Path("images", fingerprint), image)
	}
	return image, etag, err
}

// Images lists what there is.
func (s *Store) Images(ctx context.Context, path string) (images []api.Image, err error) {
	if s.Streams == nil {
		_, err = s.Server.Get(ctx, path, &images)
		return images, err
	}
	all, err := s.Streams.Images(ctx)
	for _, i := range all {
		images = append(images, i.Image)
	}
	return images, err
}

// Aliases lists the names that images have.
func (s *Store) Aliases(ctx context.Context) (all []api.ImageAliasesEntry, err error) {
	if s.Streams != nil {
		return s.Streams.Aliases(ctx)
	}
	_, err = s.Server.Get(ctx, command.Recursive("/1.0/images/aliases"), &all)
	return all, err
}

// Source describes an image to another server that is to fetch it from here: the certificate to expect, and a secret if the image is not for
// everybody. name is what the user called it. It fails when no other server can reach this one.
func (s *Store) Source(ctx context.Context, image *api.Image, name string) (src api.ImagesPostSource, err error) {
	src.Type, src.Mode, src.Server, src.Protocol, src.ImageType = "image", "pull", s.remote.Addr, "lxd", image.Type
	if !strings.HasPrefix(image.Fingerprint, name) {
		src.Alias = name
	}
	if s.Streams != nil {
		src.Protocol = "simplestreams"
		if src.Alias == "" {
			src.Fingerprint = image.Fingerprint
		}
		return src, nil
	}
	src.Fingerprint, src.Project = image.Fingerprint, s.Server.Project()
	if src.Server, src.Certificate, err = s.address(ctx); err != nil || image.Public {
		return src, err
	}
	op, err := s.Server.Send(ctx, http.MethodPost, client.Path("images", image.Fingerprint, "secret"), nil, "")
	if err != nil {
		return src, err
	}
	if op == nil {
		return src, command.Unexpected("the secret of the image")
	}
	if src.Secret, _ = op.Metadata["secret"].(string); src.Secret == "" {
		return src, command.Unexpected("the secret of the image")
	}
	return src, nil
}

// address is where other servers reach this one, and the certificate that it has there.
func (s *Store) address(ctx context.Context) (address, certificate string, err error) {
	info, err := s.Server.InProject("").Server(ctx)
	if err != nil {
		return "", "", err
	}
	address = s.remote.Addr
	if strings.HasPrefix(address, "unix:") {
		if len(info.Environment.Addresses) == 0 {
			return "", "", fmt.Errorf("Remote %q does not listen on the network, so that no other server can reach it: "+
				"set its core.https_address, or use --mode=relay", s.name)
		}
		address = "https://" + info.Environment.Addresses[0]
		return address, info.Environment.Certificate, nil
	}
	if u, err := url.Parse(address); err == nil && u.Port() == "" {
		address = "https://" + u.Host + ":443"
	}
	if pinned, err := os.ReadFile(s.cert); err == nil {
		return address, string(pinned), nil
	}
	return address, info.Environment.Certificate, nil
}

// Same tells whether both are the same server.
func (s *Store) Same(other *client.Client) bool {
	return s.Server != nil && s.Server.InProject("").URL("") == other.InProject("").OnTarget("").URL("")
}

// Export fetches an image and calls save for each of its files, one after the other.
func (s *Store) Export(ctx context.Context, image *api.Image, save func(client.ImageFile) error) error {
	if s.Streams == nil {
		return s.Server.ExportImage(ctx, image.Fingerprint, save)
	}
	found, err := s.Streams.Find(ctx, image.Fingerprint, image.Type)
	if err != nil {
		return err
	}
	_, ext, _ := strings.Cut(found.Filename, ".")
	meta := client.ImageFile{Name: found.Fingerprint + "." + ext}
	if found.Root.Path == "" {
		return s.fetch(ctx, found.Meta, meta, save)
	}
	meta.Name = "meta-" + found.Fingerprint + ".tar.xz"
	if err := s.fetch(ctx, found.Meta, meta, save); err != nil {
		return err
	}
	ext = "squashfs"
	if strings.HasSuffix(found.Root.Path, ".tar.xz") {
		ext = "tar.xz"
	} else if found.VM() {
		ext = "qcow2"
	}
	return s.fetch(ctx, found.Root, client.ImageFile{Name: found.Fingerprint + "." + ext}, save)
}

func (s *Store) fetch(ctx context.Context, f simplestreams.File, to client.ImageFile, save func(client.ImageFile) error) error {
	body, err := s.Streams.Open(ctx, f)
	if err != nil {
		return err
	}
	defer body.Close()
	to.Body, to.Size = body, f.Size
	return save(to)
}

// Offer has a server make an instance from an image of the store, which is elsewhere. The server fetches it; where it cannot reach the store,
// the image is sent to it first.
func (s *Store) Offer(server *client.Client, name string, body *api.InstancesPost) error {
	vm := body.Type == api.InstanceTypeVirtualMachine
	if s.Streams != nil { // the server asks it anyway: there is no need to do so twice
		if name == "" {
			name = "default"
		}
		body.Source.Mode, body.Source.Server, body.Source.Protocol = "pull", s.remote.Addr, "simplestreams"
		if body.Source.Alias = name; isFingerprint(name) {
			body.Source.Alias, body.Source.Fingerprint = "", name
		}
		return nil
	}
	image, _, err := s.Find(s.app.Ctx, name, vm)
	if err != nil {
		return err
	}
	if body.Type == "" {
		body.Type = api.InstanceType(image.Type)
	}
	body.Source.Fingerprint = image.Fingerprint
	src, err := s.Source(s.app.Ctx, image, name)
	if err == nil {
		to := &body.Source
		to.Mode, to.Server, to.Protocol, to.Certificate, to.Secret, to.Project = "pull", src.Server, src.Protocol, src.Certificate, src.Secret, src.Project
		to.Alias = src.Alias
		return nil
	}
	if _, e := server.Get(s.app.Ctx, client.Path("images", image.Fingerprint), &api.Image{}); e == nil {
		return nil // it has the image already
	}
	if e := s.Relay(server.OnTarget(""), image, client.ImageUpload{Properties: image.Properties}); e != nil {
		return errors.Join(err, e)
	}
	return nil
}
