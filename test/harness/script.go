package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Params runs the scripts below dir. start brings up the daemon of one script and sets LXD_DIR in its environment.
//
// Besides testscript's own, the scripts have these commands:
//
//	http METHOD PATH [BODY]   sends a request to the daemon's socket; standard output is the status line and the body.
//	                          BODY may be @FILE. "! http" expects a status of 400 or more. An operation is waited for.
//	image FILE [KEY=VALUE]    writes a small image that is good enough for the fake machines, with properties.
//	retry COMMAND …           repeats a command until it succeeds, 10 s at most.
func Params(dir string, start func(env *testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		Setup:               start,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"http": sendHTTP, "image": writeImage, "retry": retry,
		},
	}
}

func sendHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: http METHOD PATH [BODY] [HEADER:VALUE …]")
	}
	body := ""
	if len(args) > 2 {
		body = args[2]
		if name, ok := strings.CutPrefix(body, "@"); ok {
			body = ts.ReadFile(name)
		}
	}
	c := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", ts.Getenv("LXD_DIR")+"/unix.socket")
	}}}
	req, err := newRequest(args[0], args[1], body)
	ts.Check(err)
	for _, h := range args[min(3, len(args)):] {
		k, v, _ := strings.Cut(h, ":")
		req.Header.Set(k, v)
	}
	status, answer, err := request(c, req)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s\n", status, answer)
	failed := status >= http.StatusBadRequest || strings.Contains(answer, `"type":"error"`)
	if failed != neg {
		ts.Fatalf("status %d: %s", status, answer)
	}
}

func newRequest(method, path, body string) (*http.Request, error) {
	req, err := http.NewRequest(method, "http://lxd"+path, strings.NewReader(body))
	if err == nil && body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// request sends one request; an operation that comes back is waited for and its end is the answer.
func request(c *http.Client, req *http.Request) (int, string, error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var head bytes.Buffer
	for _, k := range []string{"Location", "Etag"} {
		if v := resp.Header.Get(k); v != "" {
			fmt.Fprintf(&head, "%s: %s\n", k, v)
		}
	}
	location := resp.Header.Get("Location")
	if resp.StatusCode == http.StatusAccepted && strings.Contains(string(b), `"class":"task"`) {
		wait, err := newRequest("GET", location+"/wait", "")
		if err != nil {
			return 0, "", err
		}
		_, done, err := request(c, wait)
		return resp.StatusCode, head.String() + done, err
	}
	return resp.StatusCode, head.String() + string(b), nil
}

func writeImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: image FILE [KEY=VALUE …]")
	}
	metadata := "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: Test\n"
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		metadata += fmt.Sprintf("  %s: %q\n", k, v)
	}
	b, err := Tarball([]Entry{
		{Name: "metadata.yaml", Body: metadata},
		{Name: "rootfs/", Type: '5', Mode: 0o755},
		{Name: "rootfs/etc/", Type: '5', Mode: 0o755},
		{Name: "rootfs/etc/hostname", Body: "test\n"},
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: retry COMMAND …")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never succeeded: %v", strings.Join(args, " "), err)
		}
	}
}
