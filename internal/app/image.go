package app

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"lxd/api"
	"lxd/internal/host/shelf"
	"lxd/internal/image"
	"lxd/internal/image/source"
	"lxd/internal/server"
)

// openImages makes the service of images.
func (a *App) openImages() *image.Service {
	set := func(ctx context.Context, key string) (string, error) { return a.domain.server.Get(ctx, key) }
	archs := server.Architectures()
	return image.New(image.Deps{Store: a.store, Files: shelf.New(a.dir.join("images")), Tmp: a.dir.join("tmp"), Setting: set, Sources: &source.Sources{
		Arch: archs[0], Architectures: strings.Join(archs, ", "), Agent: "LXD " + api.Version, Proxy: proxies(set),
	}})
}

// proxies finds the proxy of an address by the configuration as it is now; what it leaves open is up to the environment of the daemon.
func proxies(get func(context.Context, string) (string, error)) source.Proxies {
	env := httpproxy.FromEnvironment()
	return func(u *url.URL) (*url.URL, error) {
		var values [3]string
		for i, key := range []string{server.ProxyHTTP, server.ProxyHTTPS, server.ProxyIgnore} {
			v, err := get(context.Background(), key)
			if err != nil {
				return nil, err
			}
			values[i] = v
		}
		c := httpproxy.Config{HTTPProxy: cmp.Or(values[0], env.HTTPProxy), HTTPSProxy: cmp.Or(values[1], env.HTTPSProxy),
			NoProxy: cmp.Or(values[2], env.NoProxy)}
		return c.ProxyFunc()(u)
	}
}

// tendImages keeps images up to date, and removes those that are not used, until the daemon ends.
func (a *App) tendImages(ctx context.Context) error {
	a.tend(ctx, "images", a.domain.images.Tender(a.ops).Run)
	return nil
}
