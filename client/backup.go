package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"lxd/api"
)

// octets is the type of bodies that are no JSON.
const octets = "application/octet-stream"

// ExportInstance asks for a backup of an instance and calls save with it. A server that can sends it while it is made; of another, waiting
// for it is begun, and it is deleted afterwards. size is -1 where the server does not tell it.
func (c *Client) ExportInstance(ctx context.Context, name string, post api.InstanceBackupsPost, follow func(*Operation) error, save func(r io.Reader, size int64) error) error {
	body, err := json.Marshal(post)
	if err != nil {
		return err
	}
	answer, err := c.Open(ctx, Request{Method: http.MethodPost, Path: Path("instances", name, "backups"), Body: bytes.NewReader(body),
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {octets}}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK && answer.Header.Get("Content-Type") == octets {
		return save(answer.Body, -1)
	}
	return c.exportKept(ctx, name, answer, follow, save)
}

// exportKept fetches a backup that the server keeps.
func (c *Client) exportKept(ctx context.Context, name string, answer *http.Response, follow func(*Operation) error, save func(r io.Reader, size int64) error) (err error) {
	if answer.StatusCode != http.StatusAccepted {
		return refusal(answer)
	}
	out := &Response{HTTPStatus: answer.StatusCode}
	body, err := readAll(answer)
	if err == nil {
		err = open(body, &out.Response)
	}
	if err != nil {
		return fmt.Errorf("reading the answer about the backup: %w", err)
	}
	op, err := c.operationOf(out)
	if err != nil {
		return err
	}
	return c.fetchBackup(ctx, op, Path("instances", name, "backups"), follow, save)
}

// VolumeName names a custom volume.
type VolumeName struct{ Pool, Name string }

// ExportVolume has a backup of a custom volume made, waiting for which is begun, calls save with it, and deletes it.
func (c *Client) ExportVolume(ctx context.Context, v VolumeName, post api.StoragePoolVolumeBackupsPost, follow func(*Operation) error, save func(r io.Reader, size int64) error) error {
	path := Path("storage-pools", v.Pool, "volumes", "custom", v.Name, "backups")
	op, err := c.Send(ctx, http.MethodPost, path, post, "")
	if err != nil {
		return err
	}
	return c.fetchBackup(ctx, op, path, follow, save)
}

// fetchBackup waits for a backup below that path, fetches it, and deletes it.
func (c *Client) fetchBackup(ctx context.Context, op *Operation, path string, follow func(*Operation) error, save func(r io.Reader, size int64) error) (err error) {
	if err := follow(op); err != nil {
		return err
	}
	backup := backupOf(op)
	if backup == "" {
		return fmt.Errorf("the server does not tell which backup it made")
	}
	path += "/" + url.PathEscape(backup)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if e := c.Apply(ctx, http.MethodDelete, path, nil, ""); err == nil {
			err = e
		}
	}()
	file, err := c.Open(ctx, Request{Method: http.MethodGet, Path: path + "/export"})
	if err != nil {
		return err
	}
	defer file.Body.Close()
	if file.StatusCode != http.StatusOK {
		return refusal(file)
	}
	return save(file.Body, file.ContentLength)
}

// backupOf is the name of the backup that an operation made.
func backupOf(op *Operation) string {
	for _, kind := range []string{"instance_backup", "storage_volume_backup"} {
		if u := op.EntityURL(kind); u != "" {
			return Base(u)
		}
	}
	for _, kind := range []string{"instance_backup", "storage_volume_backup", "backups"} {
		if all := op.Resources[kind]; len(all) > 0 {
			return Base(all[0])
		}
	}
	return ""
}

// BackupUpload is a backup to be sent; it is streamed.
type BackupUpload struct {
	// Body is the backup.
	Body io.Reader
	// Name, Pool and Devices override what the backup says.
	Name, Pool string
	Devices    map[string]map[string]string
}

// ImportInstance sends a backup and returns the operation that makes an instance of it.
func (c *Client) ImportInstance(ctx context.Context, up BackupUpload) (*Operation, error) {
	h := http.Header{"Content-Type": {octets}}
	if up.Name != "" {
		h["X-LXD-name"] = []string{up.Name}
	}
	if up.Pool != "" {
		h["X-LXD-pool"] = []string{up.Pool}
	}
	if len(up.Devices) > 0 {
		all := url.Values{}
		for name, keys := range up.Devices {
			one := url.Values{}
			for k, v := range keys {
				one.Set(k, v)
			}
			all.Set(name, one.Encode())
		}
		h["X-LXD-devices"] = []string{all.Encode()}
	}
	answer, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/1.0/instances", Body: up.Body, Header: h})
	if err != nil {
		return nil, err
	}
	return c.operationOf(answer)
}

// ImportVolume sends a backup of a custom volume, or with that kind a tar archive of its files, and returns the operation that makes a volume of
// it. A name, unless empty, goes before that of the backup.
func (c *Client) ImportVolume(ctx context.Context, pool, name, kind string, body io.Reader) (*Operation, error) {
	h := http.Header{"Content-Type": {octets}, "X-LXD-type": {kind}}
	if name != "" {
		h["X-LXD-name"] = []string{name}
	}
	answer, err := c.Do(ctx, Request{Method: http.MethodPost, Path: Path("storage-pools", pool, "volumes", "custom"), Body: body, Header: h})
	if err != nil {
		return nil, err
	}
	return c.operationOf(answer)
}
