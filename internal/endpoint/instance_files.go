package endpoint

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/instance/file"
	"lxd/internal/rest"
)

// InstanceFiles is the routes of /1.0/instances/NAME/files and sftp.
func InstanceFiles(svc *instance.Service, at rest.Placement) []rest.Route {
	h := instances{svc}
	const path = "/1.0/instances/{name}/files"
	may := auth.Can("instance", "can_access_files")
	return placed([]rest.Route{
		rest.Raw("GET "+path, may, h.getFile).Reads("path").Answers(rest.Bytes(), rest.JSON[[]string]()),
		rest.Raw("HEAD "+path, may, h.headFile).Reads("path").Answers(rest.Bytes(), rest.JSON[[]string]()),
		rest.Raw("POST "+path, may, h.putFile).Reads("path").Accepts(rest.Bytes()).Answers(rest.JSON[rest.None]()),
		rest.Raw("DELETE "+path, may, h.deleteFile).Reads("path").Answers(rest.JSON[rest.None]()),
		rest.Raw("GET /1.0/instances/{name}/sftp", auth.Can("instance", "can_connect_sftp"), h.sftp).Answers(rest.Upgrade()),
	}, at)
}

// files opens the files of the instance that the path names, and reads the query's path.
func (h instances) files(c *rest.Call) (t *file.Tree, name, path string, err error) {
	if name, err = named(c); err != nil {
		return nil, "", "", err
	}
	if path = c.Param("path"); path == "" {
		return nil, "", "", errs.Newf(errs.Invalid, "the path is missing: add ?path=/... to the URL")
	}
	if strings.ContainsRune(path, 0) {
		return nil, "", "", errs.Newf(errs.Invalid, "the path may not contain a NUL character")
	}
	t, err = h.svc.Files(c.Context(), c.Project, name)
	return t, name, path, err
}

func (h instances) getFile(w http.ResponseWriter, c *rest.Call) (err error) {
	t, name, path, err := h.files(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	f, err := t.Get(path)
	if err != nil {
		return err
	}
	h.svc.FileEvent(c.Context(), api.LifecycleInstanceFileRetrieved, c.Project, name, path)
	setFileHeaders(w, f.Info)
	switch f.Kind {
	case file.Folder:
		b, err := rest.Result(f.Names, nil)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b) // a client that went away needs no answer
		return nil
	case file.Symlink:
		return sendBytes(w, int64(len(f.Target)), strings.NewReader(f.Target))
	}
	defer f.Content.Close()
	return sendBytes(w, f.Size, f.Content)
}

// sendBytes sends as many bytes as were promised; a file that shrinks meanwhile breaks the answer off.
func sendBytes(w http.ResponseWriter, size int64, r io.Reader) error {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if size == 0 { // files of tmpfs and the like tell their size; a file that was just made may grow
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	_, err := io.CopyN(w, r, size)
	return err
}

func (h instances) headFile(w http.ResponseWriter, c *rest.Call) (err error) {
	t, _, path, err := h.files(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	info, err := t.Stat(path)
	if err != nil {
		return err
	}
	setFileHeaders(w, info)
	if info.Kind == file.Plain {
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func setFileHeaders(w http.ResponseWriter, i file.Info) {
	h := w.Header()
	for k, v := range map[string]string{
		"X-LXD-Uid": strconv.FormatInt(i.UID, 10), "X-LXD-Gid": strconv.FormatInt(i.GID, 10), "X-LXD-Mode": fmt.Sprintf("%04o", i.Mode),
		"X-LXD-Modified": i.Modified.UTC().Format("2006-01-02 15:04:05 +0000 UTC"), "X-LXD-Type": i.Kind,
	} {
		h.Set(k, v)
	}
}

func (h instances) putFile(w http.ResponseWriter, c *rest.Call) (err error) {
	put, err := readPut(c.Header)
	if err != nil {
		return err
	}
	t, name, path, err := h.files(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	put.Content = c.Body
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a large file may take its time
	if err := t.Put(path, put); err != nil {
		return err
	}
	h.svc.FileEvent(c.Context(), api.LifecycleInstanceFilePushed, c.Project, name, path)
	return sendDone(w)
}

// modeBase is the base that a mode is written in. It is that of C, so 0 in front is octal; but clients before 6 write all modes with four
// octal digits, which leaves no 0 in front of set-user-ID modes such as 4755.
func modeBase(text string) int {
	if _, err := strconv.ParseUint(text, 8, 16); err == nil && len(text) == 4 {
		return 8
	}
	return 0
}

// readPut reads the headers of a POST.
func readPut(h http.Header) (p file.Put, err error) {
	p = file.Put{Kind: h.Get("X-LXD-type"), UID: -1, GID: -1, Mode: -1}
	for name, into := range map[string]*int64{"X-LXD-uid": &p.UID, "X-LXD-gid": &p.GID, "X-LXD-mode": &p.Mode} {
		text := h.Get(name)
		if text == "" {
			continue
		}
		base := 10
		if name == "X-LXD-mode" {
			base = modeBase(text)
		}
		if *into, err = strconv.ParseInt(text, base, 64); err != nil || *into < -1 {
			return p, errs.Newf(errs.Invalid, "header %s: %q is not a number that is possible here", name, text)
		}
	}
	switch h.Get("X-LXD-write") {
	case "", "overwrite":
	case "append":
		p.Append = true
	default:
		return p, errs.Newf(errs.Invalid, "header X-LXD-write: %q is neither overwrite nor append", h.Get("X-LXD-write"))
	}
	for what := range strings.SplitSeq(h.Get("X-LXD-modify-perm"), ",") {
		switch what = strings.TrimSpace(what); what {
		case "":
		case "uid", "gid", "mode":
			p.Change = append(p.Change, what)
		default:
			return p, errs.Newf(errs.Invalid, "header X-LXD-modify-perm: %q is none of uid, gid, mode", what)
		}
	}
	return p, nil
}

func (h instances) deleteFile(w http.ResponseWriter, c *rest.Call) (err error) {
	t, name, path, err := h.files(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := t.Delete(path); err != nil {
		return err
	}
	h.svc.FileEvent(c.Context(), api.LifecycleInstanceFileDeleted, c.Project, name, path)
	return sendDone(w)
}

// sendDone answers that all is well.
func sendDone(w http.ResponseWriter) error {
	b, err := rest.Result(rest.None{}, nil)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that went away needs no answer
	return nil
}

// sftp hands the connection over to the SFTP protocol.
func (h instances) sftp(w http.ResponseWriter, c *rest.Call) (err error) {
	name, err := named(c)
	if err != nil {
		return err
	}
	if !strings.EqualFold(c.Header.Get("Upgrade"), "sftp") {
		return errs.Newf(errs.Invalid, "the header \"Upgrade: sftp\" is missing: this is not a page but a connection")
	}
	t, err := h.svc.Files(c.Context(), c.Project, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: sftp\r\nConnection: Upgrade\r\n\r\n"); err != nil {
		return err
	}
	return t.Serve(file.Buffered(conn, buffered.Reader))
}
