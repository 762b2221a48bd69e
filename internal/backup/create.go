package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Kinds of operations that are recovered.
const (
	createKind = "instance-backup"
	streamKind = "instance-export"
	deleteKind = "instance-backup-delete"
	renameKind = "instance-backup-rename"
)

// target is what their journals hold.
type target struct{ Project, Instance, Name string }

// Recoverers say, by kind of operation, how to deal with one that a crash cut short.
func (s *Service) Recoverers() map[string]op.Recoverer {
	return map[string]op.Recoverer{createKind: s.recover, streamKind: s.recover, SendKind: s.recover, deleteKind: s.recover, renameKind: func(context.Context, op.Journal) error { return nil }}
}

// recover removes a backup that was being made or removed, and what its making needed. The file goes when the service starts.
func (s *Service) recover(ctx context.Context, j op.Journal) error {
	var t target
	if err := json.Unmarshal(j.Args, &t); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	if j.Kind != deleteKind {
		o, err := s.d.Instances.Original(ctx, t.Project, t.Instance)
		if err == nil {
			err = s.d.Instances.Rejoin(ctx, o)
		}
		if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Invalid) {
			return err
		}
	}
	var r Record
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = Collection.Get(tx, key(t.Project, t.Instance, t.Name))
		return err
	})
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil || j.Kind == createKind && !r.Making {
		return err
	}
	return errors.Join(s.dropFile(r), s.forget(ctx, r, func(store.Tx) error { return nil }))
}

// spec begins the description of an operation on a backup. Older clients look for it under another name.
func spec(kind string, what api.OperationType, r Record) op.Spec {
	return op.Spec{
		Kind: kind, Description: what.String(), Project: r.Project, Locks: []string{"backup " + r.key()},
		Resources: map[string][]string{
			string(api.EntityTypeInstance):       {project.URL(r.Project, "instances", r.Instance)},
			string(api.EntityTypeInstanceBackup): {project.URL(r.Project, "instances", r.Instance, "backups", r.Name)},
		},
		Args: target{r.Project, r.Instance, r.Name},
	}
}

// making is one backup in the making.
type making struct {
	s           *Service
	r           Record
	w           Wish
	compression archive.Compression
	// done is set once the backup is complete: what fails after that does not undo it.
	done bool
}

// Create returns the work that makes a backup which is kept. Without a name one is made up.
func (s *Service) Create(ctx context.Context, proj, name string, post api.InstanceBackupsPost) (op.Spec, error) {
	m, err := s.making(ctx, proj, name, Wish{InstanceOnly: post.InstanceOnly || post.ContainerOnly, Compression: post.CompressionAlgorithm, Version: post.Version,
		Optimized: post.OptimizedStorage})
	if err == nil {
		err = m.rehearse(ctx)
	}
	if err != nil {
		return op.Spec{}, err
	}
	m.r = Record{Project: proj, Instance: name, Name: post.Name, File: op.NewUUID(), CreatedAt: s.d.Now().UTC(), ExpiresAt: post.ExpiresAt.UTC(),
		InstanceOnly: m.w.InstanceOnly, Optimized: m.w.Optimized, Making: true}
	if err := s.d.Store.View(ctx, m.admit); err != nil {
		return op.Spec{}, err
	}
	o := spec(createKind, api.OperationBackingUpInstance, m.r)
	o.Locks = append(o.Locks, instance.Lock(proj, name))
	o.Resources["backups"] = []string{project.URL("", "backups", m.r.Name)} // where clients before 6 look for the name
	o.Metadata = map[string]any{"entity_url": project.URL(proj, "instances", name, "backups", m.r.Name)}
	o.Run = m.run
	return o, nil
}

// making finds out what is to be packed, and how.
func (s *Service) making(ctx context.Context, proj, name string, w Wish) (*making, error) {
	o, err := s.d.Instances.Original(ctx, proj, name)
	if err == nil && w.Optimized {
		w.Optimized, err = s.d.Volumes.Exports(ctx, o.Pool)
	}
	if err != nil {
		return nil, err
	}
	c, err := s.check(ctx, proj, &w)
	return &making{s: s, r: Record{Project: proj, Instance: name}, w: w, compression: c}, err
}

// rehearse fails if the project allows no backups, also for one that is not kept.
func (m *making) rehearse(ctx context.Context) error {
	r := m.r
	r.Name = op.NewUUID()
	return m.s.d.Store.Update(store.Trial(ctx), func(tx store.Tx) error { return Collection.Insert(tx, r) })
}

// admit finds a name.
func (m *making) admit(tx store.Tx) error {
	for n := 0; m.r.Name == ""; n++ {
		if name := "backup" + strconv.Itoa(n); !Collection.Has(tx, key(m.r.Project, m.r.Instance, name)) {
			m.r.Name = name
		}
	}
	if err := checkName(m.r.Name); err != nil {
		return err
	}
	if Collection.Has(tx, m.r.key()) {
		return errs.Newf(errs.Conflict, "backup %q of instance %q already exists: choose another name", m.r.Name, m.r.Instance)
	}
	return nil
}

func (m *making) run(ctx context.Context, t *op.Task) error {
	s := m.s
	back := func(undo func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if m.done {
				return nil
			}
			return undo(ctx)
		}
	}
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"record", func(ctx context.Context) error {
			return s.d.Store.Update(ctx, func(tx store.Tx) error {
				if err := m.admit(tx); err != nil {
					return err
				}
				return Collection.Insert(tx, m.r)
			})
		}, back(func(ctx context.Context) error { return s.forget(ctx, m.r, func(store.Tx) error { return nil }) })},
		{"file", func(ctx context.Context) error { return m.file(ctx, t) }, back(func(context.Context) error { return s.dropFile(m.r) })},
		{"ready", func(ctx context.Context) error { return m.ready(ctx, t) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// file writes the backup; on failure it is removed.
func (m *making) file(ctx context.Context, t *op.Task) error {
	f, err := os.OpenFile(m.s.d.Files.Path(m.r.Project, m.r.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return noSpace(err, m.s.d.Files.Folder(m.r.Project))
	}
	err = m.pack(ctx, f, told(t))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(noSpace(err, m.s.d.Files.Folder(m.r.Project)), m.s.dropFile(m.r))
	}
	return nil
}

// told shows how much was packed.
func told(t *op.Task) func(int64) {
	from := time.Now()
	return func(n int64) {
		rate := float64(n) / max(time.Since(from).Seconds(), 0.001)
		t.Progress("create_backup_progress", fmt.Sprintf("%.2fMB (%.2fMB/s)", float64(n)/1e6, rate/1e6))
	}
}

// noSpace explains a full disk.
func noSpace(err error, dir string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("no space left in %s for the backup: free some, or stream it with \"lxc export\": %w", dir, err)
	}
	return err
}

func (m *making) ready(ctx context.Context, t *op.Task) error {
	err := m.s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(m.r.change(ctx, api.LifecycleInstanceBackupCreated))
		err := Collection.Modify(tx, m.r.key(), func(r *Record) error {
			r.Making = false
			return nil
		})
		if err != nil {
			return err
		}
		return t.EndJournal(tx)
	})
	m.done = err == nil
	return err
}

// forget removes the record; one that was never complete goes without an event.
func (s *Service) forget(ctx context.Context, r Record, last func(store.Tx) error) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if !r.Making && Collection.Has(tx, r.key()) {
			tx.Announce(r.change(ctx, api.LifecycleInstanceBackupDeleted))
		}
		if err := Collection.Delete(tx, r.key()); err != nil {
			return err
		}
		return last(tx)
	})
}

func (s *Service) dropFile(r Record) error { return s.d.Files.Remove(r.File) }

// Stream returns the work that writes a backup to out while it is made: no file holds it. Once out is written to, a failure can only be
// seen by the archive's end missing.
func (s *Service) Stream(ctx context.Context, proj, name string, w Wish, out io.Writer) (op.Spec, error) {
	m, err := s.making(ctx, proj, name, w)
	if err == nil {
		err = m.rehearse(ctx)
	}
	if err != nil {
		return op.Spec{}, err
	}
	o := spec(streamKind, api.OperationBackingUpInstance, m.r)
	delete(o.Resources, string(api.EntityTypeInstanceBackup))
	o.Locks = []string{instance.Lock(proj, name)}
	o.Run = func(ctx context.Context, t *op.Task) error {
		return t.Step(ctx, "stream", func(ctx context.Context) error {
			return m.pack(ctx, out, told(t))
		}, nil)
	}
	return o, nil
}

// Write packs an instance whose lock the caller holds.
func (s *Service) Write(ctx context.Context, proj, name string, w Wish, out io.Writer) error {
	m, err := s.making(ctx, proj, name, w)
	if err != nil {
		return err
	}
	return m.pack(ctx, out, nil)
}

// SendKind is the kind of the operations that Write is part of; they are recovered here.
const SendKind = "instance-send"

// Delete returns the work that removes a backup.
func (s *Service) Delete(ctx context.Context, proj, name, backup string) (op.Spec, error) {
	r, err := s.find(ctx, proj, name, backup)
	return s.removal(r, api.OperationRemovingInstanceBackup), err
}

func (s *Service) removal(r Record, what api.OperationType) op.Spec {
	o := spec(deleteKind, what, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		if _, err := s.find(ctx, r.Project, r.Instance, r.Name); err != nil {
			return err
		}
		err := t.Step(ctx, "file", func(context.Context) error { return s.dropFile(r) }, func(ctx context.Context) error {
			return s.forget(ctx, r, func(store.Tx) error { return nil }) // there is no way back
		})
		if err != nil {
			return err
		}
		return t.Step(context.WithoutCancel(ctx), "record", func(ctx context.Context) error { return s.forget(ctx, r, t.EndJournal) }, nil)
	}
	return o
}

// Rename returns the work that gives a backup a new name.
func (s *Service) Rename(ctx context.Context, proj, name, backup string, post api.InstanceBackupPost) (op.Spec, error) {
	r, err := s.find(ctx, proj, name, backup)
	if err != nil {
		return op.Spec{}, err
	}
	to := r
	to.Name = strings.TrimPrefix(post.Name, name+"/")
	if err := checkName(to.Name); err != nil {
		return op.Spec{}, err
	}
	free := func(tx store.Tx) error {
		if Collection.Has(tx, to.key()) {
			return errs.Newf(errs.Conflict, "backup %q of instance %q already exists: choose another name", to.Name, name)
		}
		return nil
	}
	if err := s.d.Store.View(ctx, free); err != nil {
		return op.Spec{}, err
	}
	o := spec(renameKind, api.OperationRenamingInstanceBackup, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		return t.Step(ctx, "record", func(ctx context.Context) error {
			return s.d.Store.Update(ctx, func(tx store.Tx) error {
				e := to.change(ctx, api.LifecycleInstanceBackupRenamed)
				e.Context = map[string]any{"old_name": name + "/" + backup}
				tx.Announce(e)
				return errors.Join(free(tx), Collection.Delete(tx, r.key()), Collection.Insert(tx, to), t.EndJournal(tx))
			})
		}, nil)
	}
	return o, nil
}
