package endpoint

import (
	"context"
	"io"
	"iter"
	"net/http"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/backup"
	"lxd/internal/backup/volume"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/rest"
	"lxd/internal/storage"
)

// StorageVolumeBackups is the routes of /1.0/storage-pools/POOL/volumes/TYPE/VOLUME/backups. at places calls about one volume.
func StorageVolumeBackups(svc *volume.Service, at rest.Placement) []rest.Route {
	h := volumeBackups{svc}
	const all = "/1.0/storage-pools/{poolName}/volumes/{type}/{volumeName}/backups"
	const one = all + "/{backupName}"
	return placed([]rest.Route{
		rest.List("GET "+all, auth.Can("storage_volume", "can_view"), h.list),
		rest.Async("POST "+all, auth.Can("storage_volume", "can_manage_backups"), h.create),
		rest.Get("GET "+one, auth.Can("storage_volume_backup", "can_view"), h.get),
		rest.Async("POST "+one, auth.Can("storage_volume_backup", "can_edit"), h.rename),
		rest.Async("DELETE "+one, auth.Can("storage_volume_backup", "can_delete"), h.remove),
		rest.Raw("GET "+one+"/export", auth.Can("storage_volume_backup", "can_view"), h.export).Answers(rest.Bytes()),
	}, at)
}

type volumeBackups struct{ svc *volume.Service }

func (h volumeBackups) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.StoragePoolVolumeBackup], error] {
	return func(yield func(rest.Item[api.StoragePoolVolumeBackup], error) bool) {
		n, err := customVolume(c)
		if err != nil {
			yield(rest.Item[api.StoragePoolVolumeBackup]{}, err)
			return
		}
		all, urls, err := h.svc.List(ctx, n)
		if err != nil {
			yield(rest.Item[api.StoragePoolVolumeBackup]{}, err)
			return
		}
		for i, b := range all {
			it := rest.Item[api.StoragePoolVolumeBackup]{URL: urls[i], Project: c.Project, Value: func(int) api.StoragePoolVolumeBackup { return b }}
			if !yield(it, nil) {
				return
			}
		}
	}
}

func (h volumeBackups) create(ctx context.Context, c *rest.Call, in api.StoragePoolVolumeBackupsPost) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Create(ctx, n, in)
}

func (h volumeBackups) get(ctx context.Context, c *rest.Call) (api.StoragePoolVolumeBackup, any, error) {
	n, err := customVolume(c)
	if err != nil {
		return api.StoragePoolVolumeBackup{}, nil, err
	}
	b, err := h.svc.Get(ctx, n, c.PathValue("backupName"))
	return b, b, err
}

func (h volumeBackups) rename(ctx context.Context, c *rest.Call, in api.StoragePoolVolumeBackupPost) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Rename(ctx, n, c.PathValue("backupName"), in)
}

func (h volumeBackups) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	n, err := customVolume(c)
	if err != nil {
		return op.Spec{}, err
	}
	return h.svc.Delete(ctx, n, c.PathValue("backupName"))
}

func (h volumeBackups) export(w http.ResponseWriter, c *rest.Call) error {
	n, err := customVolume(c)
	if err != nil {
		return err
	}
	f, err := h.svc.Open(c.Context(), n, c.PathValue("backupName"))
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, c.Request, "", time.Time{}, f)
	return nil
}

// incoming is a body on its way in.
type incoming interface {
	Finished() <-chan struct{}
	Close() error
}

// ImportVolume makes a custom volume of the backup or tar archive that is the body of a call.
func ImportVolume(svc *volume.Service, run Streamer) Importer {
	return func(w http.ResponseWriter, c *rest.Call) error {
		if typ := c.PathValue("type"); typ != "" && typ != string(storage.CustomVolume) {
			return errs.Newf(errs.Invalid, "volumes of type %q come and go with what they belong to: only custom volumes can be imported", typ)
		}
		at := storage.Name{Pool: c.PathValue("poolName"), Project: c.Project, Type: storage.CustomVolume, Name: c.Header.Get("X-LXD-name")}
		interrupt := func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }
		in, spec, err := begin(c, svc, at, interrupt)
		if err == nil {
			err = run.StartUntil(w, c, spec, in.Finished())
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(c.Body, smallUpload)) // so that the client gets to read the answer
			if in != nil {
				_ = in.Close() // what was not read is not wanted
			}
		}
		return err
	}
}

// begin reads as much of the body as says what it is, and finds the work to do with it.
func begin(c *rest.Call, svc *volume.Service, at storage.Name, interrupt func()) (incoming, op.Spec, error) {
	switch c.Header.Get("X-LXD-type") {
	case "iso":
		return nil, op.Spec{}, errs.Newf(errs.Unsupported, "volumes of content type iso are not supported yet by this server")
	case "tar":
		in, err := volume.ReadTar(c.Context(), c.Body)
		if err != nil {
			return nil, op.Spec{}, err
		}
		in.Interrupt = interrupt
		spec, err := svc.ImportTar(c.Context(), at, in)
		return in, spec, err
	}
	in, err := backup.Read(c.Context(), c.Body)
	if err != nil {
		return nil, op.Spec{}, err
	}
	in.Interrupt = interrupt
	spec, err := svc.Import(c.Context(), at, in)
	return in, spec, err
}
