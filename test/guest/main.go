// Command guest asks the server through /dev/lxd/sock, as programs in instances do. Tests put it into containers.
//
//	guest METHOD PATH [BODY]   prints the status and the body of the answer; shows the token in the environment variable TOKEN, if any
//	guest listen PATH N        prints N events of a websocket
//	guest seed                 prints what cloud-init reads: metadata, each key, devices
//	guest flood N              opens N connections, some of which say nothing or too much, and says how many were closed; then asks again
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "listen":
		return listen(args[1], args[2])
	case len(args) == 1 && args[0] == "seed":
		return seed()
	case len(args) == 2 && args[0] == "flood":
		return flood(args[1])
	case len(args) == 2 || len(args) == 3:
		code, body, err := ask(args[0], args[1], strings.Join(args[2:], ""))
		if err == nil {
			fmt.Printf("%d\n%s\n", code, body)
		}
		return err
	}
	return errors.New("usage: guest METHOD PATH [BODY] | listen PATH N | seed | flood N")
}

func dial(context.Context, string, string) (net.Conn, error) {
	return net.Dial("unix", "/dev/lxd/sock")
}

func ask(method, path, body string) (int, string, error) {
	r, err := http.NewRequest(method, "http://lxd"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if token := os.Getenv("TOKEN"); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSuffix(string(b), "\n"), errors.Join(err, resp.Body.Close())
}

func listen(path, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	c, _, err := (&websocket.Dialer{NetDialContext: dial}).Dial("ws://lxd"+path, nil)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for range n {
		_, b, err := c.ReadMessage()
		if err != nil {
			return errors.Join(err, c.Close())
		}
		fmt.Println(string(b))
	}
	return c.Close()
}

func seed() error {
	var keys []string
	code, body, err := ask("GET", "/1.0/config", "")
	if err == nil {
		err = json.Unmarshal([]byte(body), &keys)
	}
	if err != nil || code != http.StatusOK {
		return fmt.Errorf("keys: %d %w", code, err)
	}
	for _, path := range append([]string{"/1.0/meta-data", "/1.0/devices"}, keys...) {
		code, body, err := ask("GET", path, "")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%s: %d %w", path, code, err)
		}
		fmt.Printf("== %s\n%s\n", path, body)
	}
	return nil
}

func flood(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	var open []net.Conn
	for i := range n {
		c, err := net.Dial("unix", "/dev/lxd/sock")
		if err != nil {
			return err
		}
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)) // a socket always takes one
		if i%3 == 1 {
			_, _ = io.WriteString(c, "GET /1.0 HTTP/1.1\r\nX: ") // it may be closed
		}
		if i%3 == 2 {
			_, _ = io.WriteString(c, "GET /1.0 HTTP/1.1\r\nX: "+strings.Repeat("x", 1<<20)) // it may be closed
		}
		open = append(open, c)
	}
	closed := 0
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	fmt.Println("closed", closed)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // the silent ones are ended by the server
		if code, _, err := ask("GET", "/1.0", ""); err == nil {
			fmt.Println("then", code)
			return nil
		} else if time.Now().After(until) {
			return err
		}
	}
}
