package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lxd/api"
	"lxd/internal/cli"
)

// listen serves mux on the socket that lxc will use.
func listen(t *testing.T, mux http.Handler) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(mux)
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	t.Setenv("LXD_SOCKET", filepath.Join(dir, "s"))
	t.Setenv("LXD_CONF", dir)
	t.Setenv("TERM", "vt100")
}

func lxc(stdin string, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	app := &cli.App{In: strings.NewReader(stdin), Out: &o, Err: &e}
	code = app.Run(context.Background(), args)
	return code, o.String(), e.String()
}

func envelope(w http.ResponseWriter, kind string, metadata any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "status_code": 200, "metadata": metadata})
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// execMux runs a command that prints its request and what it reads, and exits with code.
func execMux(code int) *http.ServeMux {
	mux := http.NewServeMux()
	ended := make(chan struct{})
	var post []byte
	secrets := map[string]string{"0": "0", "1": "1", "2": "2", "control": "c"}
	mux.HandleFunc("POST /1.0/instances/c1/exec", func(w http.ResponseWriter, r *http.Request) {
		var v map[string]any
		_ = json.NewDecoder(r.Body).Decode(&v)
		post, _ = json.Marshal(trim(v))
		envelope(w, "async", map[string]any{"id": "e", "metadata": map[string]any{"fds": secrets}})
	})
	input := make(chan string, 1)
	mux.HandleFunc("GET /1.0/operations/e/websocket", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		switch r.URL.Query().Get("secret") {
		case "0":
			in := ""
			for kind, data, err := conn.ReadMessage(); err == nil && kind == websocket.BinaryMessage; kind, data, err = conn.ReadMessage() {
				in += string(data)
			}
			input <- in
		case "1":
			_ = conn.WriteMessage(websocket.BinaryMessage, []byte(string(post)+" "+<-input))
			_ = conn.WriteMessage(websocket.TextMessage, nil)
			close(ended)
		case "2":
			_ = conn.WriteMessage(websocket.BinaryMessage, []byte("oops"))
			_ = conn.WriteMessage(websocket.TextMessage, nil)
		}
	})
	mux.HandleFunc("GET /1.0/operations/e/wait", func(w http.ResponseWriter, _ *http.Request) {
		<-ended
		envelope(w, "sync", map[string]any{"id": "e", "status_code": 200, "metadata": map[string]any{"return": code}})
	})
	return mux
}

func TestExec(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  string
	}{
		"plain": {[]string{"exec", "c1", "--", "cat", "-n"}, "text", 0,
			`{"command":["cat","-n"],"environment":{"TERM":"vt100"},"wait-for-websocket":true} text`},
		"all flags": {[]string{"exec", "c1", "--cwd", "/tmp", "--env", "A=B=C", "--env", "D", "--user", "5", "--group", "6", "-T", "id"}, "", 3,
			`{"command":["id"],"cwd":"/tmp","environment":{"A":"B=C","TERM":"vt100"},"group":6,"user":5,"wait-for-websocket":true} `},
		"no input": {[]string{"exec", "-n", "c1", "cat"}, "never read", 255,
			`{"command":["cat"],"environment":{"TERM":"vt100"},"wait-for-websocket":true} `},
		"shell": {[]string{"shell", "c1"}, "", 1,
			`{"command":["su","-l"],"environment":{"TERM":"vt100"},"wait-for-websocket":true} `},
	} {
		t.Run(name, func(t *testing.T) {
			listen(t, execMux(c.code))
			code, out, errs := lxc(c.stdin, c.args...)
			if code != c.code || out != c.want || errs != "oops" {
				t.Errorf("exit code %d, want %d; standard error %q; got\n%s\nwant\n%s", code, c.code, errs, out, c.want)
			}
		})
	}
}

func TestMonitor(t *testing.T) {
	events := []string{
		`{"type":"lifecycle","timestamp":"2026-03-04T05:06:07Z","metadata":{"action":"instance-started","source":"/1.0/instances/c1","context":{"b":"x y","a":1},"requestor":{"username":"root","protocol":"unix","address":"@"}}}`,
		`{"type":"logging","timestamp":"2026-03-04T05:06:07Z","metadata":{"message":"slow","level":"warning","context":{"k":"v"}}}`,
		`{"type":"logging","timestamp":"2026-03-04T05:06:07Z","metadata":{"message":"detail","level":"debug"}}`,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /1.0/events", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for _, e := range events {
			if types := r.URL.Query().Get("type"); types == "" || strings.Contains(e, `"type":"`+types+`"`) {
				_ = conn.WriteMessage(websocket.TextMessage, []byte(e))
			}
		}
	})
	for args, want := range map[string]string{
		"--pretty --loglevel=info": `time="2026-03-04T05:06:07Z" level=info msg="Action: instance-started, Source: /1.0/instances/c1, Requestor: unix/root (@)" a=1 b="x y"
time="2026-03-04T05:06:07Z" level=warning msg="slow" k=v
`,
		"--type=logging --format json": `{"metadata":{"context":{"k":"v"},"level":"warning","message":"slow"},"timestamp":"2026-03-04T05:06:07Z","type":"logging"}

{"metadata":{"level":"debug","message":"detail"},"timestamp":"2026-03-04T05:06:07Z","type":"logging"}

`,
		"--type=lifecycle": `metadata:
  action: instance-started
  context:
    a: 1
    b: x y
  requestor:
    address: '@'
    protocol: unix
    username: root
  source: /1.0/instances/c1
timestamp: "2026-03-04T05:06:07Z"
type: lifecycle


`,
	} {
		listen(t, mux)
		code, out, errs := lxc("", append([]string{"monitor"}, strings.Fields(args)...)...)
		if code != 1 || out != want || !strings.Contains(errs, "the event stream ended") {
			t.Errorf("%s: exit code %d, %s, got\n%s\nwant\n%s", args, code, errs, out, want)
		}
	}
}

// A remote over HTTPS is known by the very certificate that was pinned for it.
func TestPinnedRemote(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var s api.Server
		s.Environment.ServerVersion = "6.7"
		envelope(w, "sync", s)
	})
	srv := httptest.NewTLSServer(handler)
	defer srv.Close()
	dir := t.TempDir()
	t.Setenv("LXD_CONF", dir)
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config.yml", "remotes:\n  mine: {addr: '"+srv.URL+"'}\n")
	check := func(what, want string) {
		t.Helper()
		if _, out, _ := lxc("", "version", "mine:"); !strings.Contains(out, "Server version: "+want+"\n") {
			t.Errorf("%s: got %s, want %s", what, out, want)
		}
	}
	check("nothing pinned", "unreachable")
	write("servercerts/mine.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	check("pinned", "6.7")
	write("servercerts/mine.crt", "nonsense")
	check("nonsense pinned", "unreachable")
}

func TestCompletionScripts(t *testing.T) {
	t.Setenv("LXD_CONF", t.TempDir())
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		described, plain := 0, 0
		for _, flags := range [][]string{nil, {"--no-descriptions"}} {
			code, out, errs := lxc("", append([]string{"completion", shell}, flags...)...)
			if code != 0 || !strings.Contains(out, "lxc") || errs != "" {
				t.Errorf("%s %v: exit code %d, %d bytes, %s", shell, flags, code, len(out), errs)
			}
			if flags == nil {
				described = strings.Count(out, "__completeNoDesc")
			} else {
				plain = strings.Count(out, "__completeNoDesc")
			}
		}
		if plain <= described {
			t.Errorf("%s: --no-descriptions changes nothing", shell)
		}
	}
}

func TestFullTreeHelp(t *testing.T) {
	t.Setenv("LXD_CONF", t.TempDir())
	code, out, _ := lxc("")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, noun := range []string{"alias", "config", "exec", "image", "launch", "list", "network", "profile", "storage", "version", "completion"} {
		if !strings.Contains(out, "\n  "+noun+" ") {
			t.Errorf("the help does not mention %s", noun)
		}
	}
}

// The pages of all commands that help shows, and no others, are written.
func TestManpage(t *testing.T) {
	t.Setenv("LXD_CONF", t.TempDir())
	dir := filepath.Join(t.TempDir(), "man")
	if code, out, errs := lxc("", "manpage", dir); code != 0 || out+errs != "" {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	for name, want := range map[string]bool{"lxc.1": true, "lxc-launch.1": true, "lxc-config-device-add.1": true, "lxc-cluster-group-list.1": true, "lxc-manpage.1": false} {
		_, err := os.Stat(filepath.Join(dir, name))
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "lxc-list.1"))
	if err != nil || !strings.Contains(string(text), "\\-\\-all\\-projects") {
		t.Errorf("%v, %s", err, text)
	}
	if code, _, errs := lxc("", "manpage", dir, "-f", "docx"); code != 1 || !strings.Contains(errs, "docx") {
		t.Errorf("an unknown format: exit code %d, %s", code, errs)
	}
}

// Every command and every flag says what it does, and no two commands of a branch go by the same name.
func TestHelpIsComplete(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its line in lists is %q", cmd.CommandPath(), cmd.Short)
		}
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || f.Value.Type() != "bool" && !strings.HasSuffix(f.Usage, "``") && f.Name != "help" {
				t.Errorf("%s --%s: its line is %q", cmd.CommandPath(), f.Name, f.Usage)
			}
		})
		names := map[string]bool{}
		for _, sub := range cmd.Commands() {
			for _, name := range append([]string{sub.Name()}, sub.Aliases...) {
				if names[name] {
					t.Errorf("%s: there are two %s", cmd.CommandPath(), name)
				}
				names[name] = true
			}
			walk(sub)
		}
	}
	walk(cli.New().Root())
}
