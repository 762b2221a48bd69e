// Package migrate copies instances between servers. The two of them talk over two websockets, which either side may open, or a client that
// stands between them: "control", where each sends a header and the receiver a verdict at the end, and "fs", which carries the instance.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/storage"
)

// Instances is what migrations need of instances.
type Instances interface {
	Original(ctx context.Context, project, name string) (instance.Original, error)
	Receive(ctx context.Context, project string, post api.InstancesPost, a instance.Arrival) (op.Spec, error)
	// Event announces what was done to an instance.
	Event(ctx context.Context, action, project, name string)
}

// Backups is what migrations need of backups.
type Backups interface {
	// Write packs an instance, whose lock is held.
	Write(ctx context.Context, project, name string, w backup.Wish, out io.Writer) error
	// Unpack is how what comes is unpacked.
	Unpack(in *backup.Incoming) ([]api.InstanceSnapshot, backup.Filling, error)
}

// Service is the use cases of migrations. Its methods may be called at the same time.
type Service struct {
	instances Instances
	backups   Backups
}

// New makes the service; it has no effects.
func New(i Instances, b Backups) *Service { return &Service{i, b} }

// Source returns the work that sends an instance: to the operation that the request names, or to who connects to it.
func (s *Service) Source(ctx context.Context, proj, name string, post api.InstancePost) (op.Spec, error) {
	o, err := s.instances.Original(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	if post.Live && o.Instance.StatusCode != api.StatusStopped {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving a running instance with its state is not supported yet by this server: use --stateless, or stop it")
	}
	wish := backup.Wish{InstanceOnly: post.InstanceOnly || post.ContainerOnly, Compression: "none", Version: 2}
	spec := op.Spec{
		Kind: backup.SendKind, Description: api.OperationMigratingInstance.String(), Project: proj, Locks: []string{instance.Lock(proj, name)},
		Resources: map[string][]string{string(api.EntityTypeInstance): {project.URL(proj, "instances", name)}},
		Args:      struct{ Project, Instance string }{proj, name},
	}
	send := func(ctx context.Context, t *op.Task, l *link) error {
		defer l.close()
		defer context.AfterFunc(ctx, l.close)()
		var snapshots []string
		for _, snap := range o.Snapshots {
			if !wish.InstanceOnly {
				snapshots = append(snapshots, snap.Name)
			}
		}
		return t.Step(ctx, "send", func(ctx context.Context) error {
			err := s.send(ctx, l, snapshots, func(to *stream) error {
				p := newProgress(t)
				defer p.show()
				return s.backups.Write(ctx, proj, name, wish, watched{to, p})
			})
			if err == nil {
				s.instances.Event(ctx, api.LifecycleInstanceMigrated, proj, name)
			}
			return err
		}, nil)
	}
	if post.Target != nil {
		spec.Run = func(ctx context.Context, t *op.Task) error {
			l, err := dial(ctx, post.Target.Operation, post.Target.Certificate, post.Target.Websockets)
			if err != nil {
				return err
			}
			return send(ctx, t, l)
		}
		return spec, nil
	}
	l := newLink()
	spec.Class, spec.Metadata, spec.Connect = op.WebsocketClass, l.metadata(), l.connect
	spec.Run = func(ctx context.Context, t *op.Task) error {
		if err := l.await(ctx); err != nil {
			l.close()
			return err
		}
		return send(ctx, t, l)
	}
	return spec, nil
}

// send talks to the receiver.
func (s *Service) send(ctx context.Context, l *link, snapshots []string, write func(*stream) error) error {
	if err := l.say(header{formats: []string{backupFormat}, snapshots: snapshots}.marshal()); err != nil {
		return err
	}
	b, err := l.hear(patience)
	if err != nil {
		return err
	}
	theirs, err := parseHeader(b)
	if err != nil {
		return err
	}
	if !slices.Contains(theirs.formats, backupFormat) {
		return errs.Newf(errs.Unsupported, "the other server cannot receive what this one sends: export the instance with \"lxc export\" and import it there")
	}
	data := l.data()
	err = write(data)
	if err == nil {
		err = data.end()
	}
	most := time.Duration(0)
	if err != nil { // the receiver is to see that it does not have all of it
		err, most = errors.Join(err, context.Cause(ctx), data.c.Close()), patience
	}
	last, heard := l.hear(most) // the receiver knows best what went wrong, if it is still there
	switch {
	case heard != nil && err != nil:
		return err
	case heard != nil:
		return heard
	}
	v, e := parseVerdict(last)
	switch {
	case e != nil:
		return errors.Join(err, e)
	case err == nil && !v.ok:
		return errs.Newf(errs.Unavailable, "the receiving server: %s", v.message)
	case !v.ok:
		return fmt.Errorf("%w; the receiving server: %s", err, v.message)
	}
	return err
}

// Sink returns the work that receives an instance: from the operation that the request names, or from who connects to it.
func (s *Service) Sink(ctx context.Context, proj string, post api.InstancesPost) (op.Spec, error) {
	src := post.Source
	switch {
	case src.Mode != "" && src.Mode != "pull" && src.Mode != "push":
		return op.Spec{}, errs.Newf(errs.Invalid, "unknown migration mode %q: it is pull or push", src.Mode)
	case src.Live:
		return op.Spec{}, errs.Newf(errs.Unsupported, "receiving a running instance with its state is not supported yet by this server: use --stateless, or stop it")
	}
	r := &receiving{s: s}
	spec, err := s.instances.Receive(ctx, proj, post, instance.Arrival{
		Kind: instance.ReceiveKind, Description: api.OperationCreatingInstance, Same: true, Begin: r.begin, Fill: r.fill,
		Refresh: src.Refresh, Only: src.InstanceOnly || src.ContainerOnly,
	})
	if err != nil {
		return spec, err
	}
	run := spec.Run
	if src.Mode == "push" {
		r.l = newLink()
		spec.Class, spec.Connect = op.WebsocketClass, r.l.connect
		for k, v := range r.l.metadata() {
			spec.Metadata[k] = v
		}
	}
	spec.Run = func(ctx context.Context, t *op.Task) error { return r.run(ctx, t, src, run) }
	return spec, nil
}

// receiving is one run of a sink.
type receiving struct {
	s    *Service
	t    *op.Task
	l    *link
	in   *backup.Incoming
	unit backup.Filling
	told sync.Once
}

// run connects, has the instance made, and tells the sender how it went.
func (r *receiving) run(ctx context.Context, t *op.Task, src api.InstanceSource, create func(context.Context, *op.Task) error) (err error) {
	r.t = t
	if r.l != nil {
		err = r.l.await(ctx)
	} else {
		r.l, err = dial(ctx, src.Operation, src.Certificate, src.Websockets)
	}
	if r.l != nil {
		defer r.l.close()
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, r.l.close)()
	err = create(ctx, t)
	if r.in != nil {
		err = errors.Join(err, r.in.Close())
	}
	if err != nil {
		r.tell(verdict{message: err.Error()})
		return err
	}
	r.tell(verdict{ok: true})
	return nil
}

// tell gives the sender the verdict; one that is not there any more has seen for itself.
func (r *receiving) tell(v verdict) {
	r.told.Do(func() { _ = r.l.say(v.marshal()) })
}

// begin hears what the sender has to send.
func (r *receiving) begin(ctx context.Context) ([]api.InstanceSnapshot, error) {
	b, err := r.l.hear(patience)
	if err != nil {
		return nil, err
	}
	theirs, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(theirs.formats, backupFormat) {
		return nil, errs.Newf(errs.Unsupported, "the other server sends in a way that this one does not know: export the instance there with \"lxc export\" and import it here")
	}
	if err := r.l.say(header{formats: []string{backupFormat}, snapshots: theirs.snapshots}.marshal()); err != nil {
		return nil, err
	}
	if r.in, err = backup.Read(ctx, watched{r.l.data(), newProgress(r.t)}); err != nil {
		return nil, err
	}
	snapshots, fill, err := r.s.backups.Unpack(r.in)
	r.unit = fill
	return snapshots, err
}

func (r *receiving) fill(ctx context.Context, t *op.Task, pool string, root storage.Volume) error {
	return r.unit(ctx, t, pool, root)
}
