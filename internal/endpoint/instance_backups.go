package endpoint

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/backup"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// Streamer runs work that reads the body of a call, or writes its answer.
type Streamer interface {
	// StartUntil answers with the operation once the body is read.
	StartUntil(w http.ResponseWriter, c *rest.Call, spec op.Spec, read <-chan struct{}) error
	// Run waits for the work, which answers by itself.
	Run(c *rest.Call, spec op.Spec) error
	// Start answers with the operation at once.
	Start(w http.ResponseWriter, c *rest.Call, spec op.Spec) error
}

// InstanceBackups is the routes of /1.0/instances/NAME/backups.
func InstanceBackups(svc *backup.Service, run Streamer, at rest.Placement) []rest.Route {
	h := backups{svc, run}
	const all = "/1.0/instances/{name}/backups"
	const one = all + "/{backupName}"
	return placed([]rest.Route{
		rest.List("GET "+all, auth.Can("instance_backup", "can_view"), h.list).
			Depths(reflect.TypeFor[[]string](), reflect.TypeFor[[]api.InstanceBackup]()),
		rest.AsyncOrStream("POST "+all, auth.Can("instance", "can_manage_backups"), h.create, h.stream),
		rest.Get("GET "+one, auth.Can("instance_backup", "can_view"), h.get),
		rest.Async("POST "+one, auth.Can("instance_backup", "can_edit"), h.rename),
		rest.Async("DELETE "+one, auth.Can("instance_backup", "can_edit"), h.remove),
		rest.Raw("GET "+one+"/export", auth.Can("instance_backup", "can_view"), h.export).Answers(rest.Bytes()),
	}, at)
}

type backups struct {
	svc *backup.Service
	run Streamer
}

func (h backups) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[any], error] {
	return func(yield func(rest.Item[any], error) bool) {
		name, err := named(c)
		if err != nil {
			yield(rest.Item[any]{}, err)
			return
		}
		all, urls, err := h.svc.List(ctx, c.Project, name)
		if err != nil {
			yield(rest.Item[any]{}, err)
			return
		}
		for i, b := range all {
			if !yield(rest.Item[any]{URL: urls[i], Project: c.Project, Value: func(int) any { return b }}, nil) {
				return
			}
		}
	}
}

func (h backups) create(ctx context.Context, c *rest.Call, in api.InstanceBackupsPost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Create(ctx, c.Project, name, in)
}

// stream is for clients that take the backup itself as the answer: it is sent while it is made, and not kept.
func (h backups) stream(w http.ResponseWriter, c *rest.Call, in api.InstanceBackupsPost) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	out := &begun{w: w}
	spec, err := h.svc.Stream(c.Context(), c.Project, name, backup.Wish{
		InstanceOnly: in.InstanceOnly || in.ContainerOnly, Compression: in.CompressionAlgorithm, Version: in.Version, Optimized: in.OptimizedStorage,
	}, out)
	if err != nil {
		return err
	}
	err = h.run.Run(c, spec)
	if err != nil && out.yes {
		panic(http.ErrAbortHandler) // the client must not take the part for the whole
	}
	return err
}

// begun is an answer that has its headers when the first byte is written.
type begun struct {
	w   http.ResponseWriter
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	if !b.yes {
		b.w.Header().Set("Content-Type", "application/octet-stream")
		b.yes = true
	}
	return b.w.Write(p)
}

func (h backups) get(ctx context.Context, c *rest.Call) (api.InstanceBackup, any, error) {
	name, err := named(c)
	if err != nil {
		return api.InstanceBackup{}, nil, err
	}
	b, err := h.svc.Get(ctx, c.Project, name, c.PathValue("backupName"))
	return b, b, err
}

func (h backups) rename(ctx context.Context, c *rest.Call, in api.InstanceBackupPost) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Rename(ctx, c.Project, name, c.PathValue("backupName"), in)
}

func (h backups) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	name, err := named(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Delete(ctx, c.Project, name, c.PathValue("backupName"))
}

func (h backups) export(w http.ResponseWriter, c *rest.Call) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	f, err := h.svc.Open(c.Context(), c.Project, name, c.PathValue("backupName"))
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, c.Request, "", time.Time{}, f)
	return nil
}

// Import makes an instance of the backup that is the body of a call.
func Import(svc *backup.Service, run Streamer) Importer {
	return func(w http.ResponseWriter, c *rest.Call) error {
		if c.Target() != "" {
			return errs.Newf(errs.Invalid, "target %q: this server is not clustered, leave the target out", c.Target())
		}
		over, err := overrides(c.Header)
		if err != nil {
			return err
		}
		in, err := backup.Read(c.Context(), c.Body)
		if err != nil {
			return err
		}
		in.Interrupt = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }
		err = use.Arrive(c, in.Request(over))
		var spec op.Spec
		if err == nil {
			spec, err = svc.Import(c.Context(), c.Project, in, over)
		}
		if err == nil {
			err = run.StartUntil(w, c, spec, in.Finished())
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(c.Body, smallUpload)) // so that the client gets to read the answer
			_ = in.Close()                                                  // what was not read is not wanted
		}
		return err
	}
}

// smallUpload is how much is taken of an upload that is refused.
const smallUpload = 256 << 20

// overrides reads the headers of an upload. Devices are a form within a form.
func overrides(h http.Header) (o backup.Overrides, err error) {
	o.Name, o.Pool = h.Get("X-LXD-name"), h.Get("X-LXD-pool")
	if strings.Contains(o.Name, "/") {
		return o, errs.Newf(errs.Invalid, "header X-LXD-name: instance name %q may not contain a slash", o.Name)
	}
	all, err := url.ParseQuery(h.Get("X-LXD-devices"))
	if err != nil {
		return o, errs.Newf(errs.Invalid, "header X-LXD-devices: %w", err)
	}
	for name := range all {
		keys, err := url.ParseQuery(all.Get(name))
		if err != nil {
			return o, errs.Newf(errs.Invalid, "header X-LXD-devices: device %q: %w", name, err)
		}
		if o.Devices == nil {
			o.Devices = map[string]map[string]string{}
		}
		o.Devices[name] = map[string]string{}
		for k := range keys {
			o.Devices[name][k] = keys.Get(k)
		}
	}
	return o, nil
}
