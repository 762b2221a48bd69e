package client_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/client"
)

// command is the other side of exec: it has the streams and says when it has ended.
type command struct {
	mu      sync.Mutex
	streams map[string]*websocket.Conn
	ready   chan struct{}
	ended   chan int
}

// execServer runs one command with run once all of fds are connected.
func execServer(t *testing.T, fds []string, run func(c *command) int) (*client.Client, *command) {
	t.Helper()
	cmd := &command{streams: map[string]*websocket.Conn{}, ready: make(chan struct{}), ended: make(chan int, 1)}
	secrets := map[string]any{}
	for _, fd := range fds {
		secrets[fd] = "secret-" + fd
	}
	upgrade := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c := serve(t, map[string]http.HandlerFunc{
		"POST /1.0/instances/c1/exec": reply(api.ResponseTypeAsync, api.Operation{ID: "e", Metadata: map[string]any{"fds": secrets}}),
		"POST /1.0/instances/c2/exec": refuse(400, 400, "Instance is not running"),
		"GET /1.0/operations/e/websocket": func(w http.ResponseWriter, r *http.Request) {
			fd, ok := strings.CutPrefix(r.URL.Query().Get("secret"), "secret-")
			if !ok {
				refuse(403, 403, "wrong secret")(w, r)
				return
			}
			conn, err := upgrade.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			cmd.mu.Lock()
			defer cmd.mu.Unlock()
			if cmd.streams[fd] = conn; len(cmd.streams) == len(fds) {
				close(cmd.ready)
			}
		},
		"GET /1.0/operations/e/wait": func(w http.ResponseWriter, r *http.Request) {
			code := <-cmd.ended
			reply(api.ResponseTypeSync, api.Operation{ID: "e", StatusCode: api.StatusSuccess, Metadata: map[string]any{"return": code}})(w, r)
		},
	})
	go func() {
		<-cmd.ready
		cmd.ended <- run(cmd)
	}()
	return c, cmd
}

func (c *command) write(fd, text string) {
	_ = c.streams[fd].WriteMessage(websocket.BinaryMessage, []byte(text))
}

func (c *command) end(fd string) { _ = c.streams[fd].WriteMessage(websocket.TextMessage, nil) }

// input reads what the client sends until it says that this is all.
func (c *command) input() string {
	var in bytes.Buffer
	for {
		kind, data, err := c.streams["0"].ReadMessage()
		if err != nil || kind == websocket.TextMessage {
			return in.String()
		}
		in.Write(data)
	}
}

func TestExec(t *testing.T) {
	c, _ := execServer(t, []string{"0", "1", "2", "control"}, func(c *command) int {
		c.write("2", "warning\n")
		c.write("1", "got "+c.input())
		c.end("1")
		c.end("2")
		return 3
	})
	var out, errs bytes.Buffer
	code, err := c.Exec(t.Context(), "c1", api.InstanceExecPost{Command: []string{"x"}},
		client.ExecStreams{Stdin: strings.NewReader("all of it"), Stdout: &out, Stderr: &errs})
	if err != nil || code != 3 || out.String() != "got all of it" || errs.String() != "warning\n" {
		t.Errorf("got %d, %v, %q, %q", code, err, out.String(), errs.String())
	}
}

func TestExecInteractive(t *testing.T) {
	c, _ := execServer(t, []string{"0", "control"}, func(c *command) int {
		var msg api.InstanceExecControl
		_ = c.streams["control"].ReadJSON(&msg)
		_, key, _ := c.streams["0"].ReadMessage()
		_, end, _ := c.streams["0"].ReadMessage()
		c.write("0", fmt.Sprintf("%s %s %s %q", msg.Command, msg.Args["width"], key, end))
		c.end("0")
		return 0
	})
	controls := make(chan api.InstanceExecControl, 1)
	controls <- api.InstanceExecControl{Command: "window-resize", Args: map[string]string{"width": "99"}}
	var out bytes.Buffer
	code, err := c.Exec(t.Context(), "c1", api.InstanceExecPost{Interactive: true},
		client.ExecStreams{Stdin: strings.NewReader("key"), Stdout: &out, Control: controls})
	if want := `window-resize 99 key "\x04"`; err != nil || code != 0 || out.String() != want {
		t.Errorf("got %d, %v, %q, want %q", code, err, out.String(), want)
	}
}

func TestExecWithoutInput(t *testing.T) {
	c, _ := execServer(t, []string{"0", "1", "2", "control"}, func(c *command) int {
		n := len(c.input())
		c.end("1")
		c.end("2")
		return n
	})
	if code, err := c.Exec(t.Context(), "c1", api.InstanceExecPost{}, client.ExecStreams{Stdout: io.Discard, Stderr: io.Discard}); code != 0 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestExecFailures(t *testing.T) {
	c, _ := execServer(t, []string{"0"}, func(*command) int { return 0 })
	if _, err := c.Exec(t.Context(), "c2", api.InstanceExecPost{}, client.ExecStreams{}); client.StatusOf(err) != 400 {
		t.Errorf("a stopped instance gave %v", err)
	}
	// The server did not give secrets for the other streams, so it will refuse them.
	if _, err := c.Exec(t.Context(), "c1", api.InstanceExecPost{}, client.ExecStreams{}); client.StatusOf(err) != 403 {
		t.Errorf("a refused stream gave %v", err)
	}
}

func TestEvents(t *testing.T) {
	upgrade := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c := serve(t, map[string]http.HandlerFunc{"GET /1.0/events": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("type") == "bad" {
			refuse(400, 400, "no such type")(w, r)
			return
		}
		conn, err := upgrade.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for range 2 {
			_ = conn.WriteJSON(map[string]any{"type": r.URL.RawQuery, "metadata": map[string]any{}})
		}
	}})
	events, err := c.InProject("p").Events(t.Context(), client.EventFilter{Types: []string{"operation", "logging"}})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := events.Next()
	if want := "type=operation%2Clogging&project=p"; err != nil || ev.Type != want {
		t.Errorf("got %v, %v, want %s", ev, err, want)
	}
	if raw, err := events.NextRaw(); err != nil || !bytes.Contains(raw, []byte(`"metadata":{}`)) {
		t.Errorf("got %s, %v", raw, err)
	}
	if _, err := events.Next(); err == nil {
		t.Error("a stream that ended had another event")
	}
	if err := events.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Events(t.Context(), client.EventFilter{Types: []string{"bad"}, AllProjects: true}); client.StatusOf(err) != 400 {
		t.Errorf("got %v", err)
	}
}

func TestEventsOfNobody(t *testing.T) {
	c := serve(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Events(ctx, client.EventFilter{}); err == nil {
		t.Error("listening to a server without events worked")
	}
}

func TestUploadImage(t *testing.T) {
	var got []string
	c := serve(t, map[string]http.HandlerFunc{"POST /1.0/images": func(w http.ResponseWriter, r *http.Request) {
		got = []string{r.Header.Get("X-LXD-public"), r.Header.Get("X-LXD-filename"), r.Header.Get("X-LXD-properties")}
		if form, err := r.MultipartReader(); err == nil {
			for part, err := form.NextPart(); err == nil; part, err = form.NextPart() {
				data, _ := io.ReadAll(part)
				got = append(got, part.FormName()+" "+part.FileName()+" "+string(data))
			}
		} else {
			data, _ := io.ReadAll(r.Body)
			got = append(got, string(data))
		}
		reply(api.ResponseTypeAsync, api.Operation{ID: "u"})(w, r)
	}})
	for name, u := range map[string]struct {
		up   client.ImageUpload
		want []string
	}{
		"unified": {client.ImageUpload{Meta: strings.NewReader("tar"), MetaName: "a.tar", Public: true, Properties: map[string]string{"os": "x y"}},
			[]string{"true", "a.tar", "os=x+y", "tar"}},
		"split": {client.ImageUpload{Meta: strings.NewReader("m"), MetaName: "m.tar", Rootfs: strings.NewReader("r"), RootfsName: "r.sq"},
			[]string{"false", "", "", "metadata m.tar m", "rootfs r.sq r"}},
		"machine": {client.ImageUpload{Meta: strings.NewReader("m"), MetaName: "m.tar", Rootfs: strings.NewReader("r"), RootfsName: "d", VM: true},
			[]string{"false", "", "", "metadata m.tar m", "rootfs.img d r"}},
	} {
		op, err := c.UploadImage(t.Context(), u.up)
		if err != nil || op.ID != "u" || strings.Join(got, "|") != strings.Join(u.want, "|") {
			t.Errorf("%s: got %v, %v, %v, want %v", name, got, op, err, u.want)
		}
	}
}

func TestExportImage(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"GET /1.0/images/one/export": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Disposition", "inline;filename=one.tar.gz")
			w.Header().Set("Content-Length", "3")
			_, _ = io.WriteString(w, "tar")
		},
		"GET /1.0/images/two/export": func(w http.ResponseWriter, _ *http.Request) {
			form := multipart.NewWriter(w)
			w.Header().Set("Content-Type", form.FormDataContentType())
			for _, name := range []string{"metadata", "rootfs"} {
				part, _ := form.CreateFormFile(name, name+".tar")
				_, _ = io.WriteString(part, "of "+name)
			}
			_ = form.Close()
		},
		"GET /1.0/images/no/export": refuse(404, 404, "Image not found"),
	})
	for fingerprint, want := range map[string]string{"one": "one.tar.gz 3 tar;", "two": "metadata.tar -1 of metadata;rootfs.tar -1 of rootfs;"} {
		got := ""
		err := c.ExportImage(t.Context(), fingerprint, func(f client.ImageFile) error {
			data, err := io.ReadAll(f.Body)
			got += fmt.Sprintf("%s %d %s;", f.Name, f.Size, data)
			return err
		})
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", fingerprint, got, err, want)
		}
	}
	if err := c.ExportImage(t.Context(), "no", nil); !client.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	if err := c.ExportImage(t.Context(), "one", func(client.ImageFile) error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Errorf("got %v", err)
	}
}
