package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"lxd/client"
	"lxd/internal/errs"
)

// remote is the daemon behind its socket.
type remote struct{ c *client.Client }

// Local finds the daemon of LXD_SOCKET or LXD_DIR.
func Local() (Server, error) {
	c, err := client.ConnectUnix("")
	if err != nil {
		return nil, err
	}
	return remote{c}, nil
}

func (r remote) Get(ctx context.Context, path string, out any) (string, error) {
	if out == nil {
		out = new(any)
	}
	etag, err := r.c.Get(ctx, path, out)
	if client.IsNotFound(err) {
		err = errs.As(errs.NotFound, err)
	}
	return etag, err
}

func (r remote) Do(ctx context.Context, method, path string, in any, etag string) error {
	return r.c.Apply(ctx, method, path, in, etag)
}

func (r remote) Ask(ctx context.Context, path string, in, out any) error {
	answer, err := r.c.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Body: in})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer.Metadata, out)
}
