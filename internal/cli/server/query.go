// Package server holds the commands for a server as a whole: its events, its operations, its API, its version.
package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// queryFlags are the flags of query.
type queryFlags struct {
	method, data string
	raw, wait    bool
}

// Query sends a request of the user's to a server.
func Query(a *command.App) *cobra.Command {
	var f queryFlags
	cmd := a.Leaf(command.Leaf{Use: "query [<remote>:]<API path>", Short: "Send a raw query to LXD", Least: 1, Most: 1,
		Example: "lxc query -X DELETE --wait /1.0/instances/c1\n    Delete instance c1 and wait until it is gone",
		Run:     func(args []string) error { return send(a, args[0], f) }})
	cmd.Flags().StringVarP(&f.data, "data", "d", "", "Input data (- for standard input)``")
	cmd.Flags().BoolVar(&f.raw, "raw", false, "Print the raw response")
	cmd.Flags().StringVarP(&f.method, "request", "X", "GET", "Action (defaults to GET)``")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "Wait for the operation to complete")
	return cmd
}

func send(a *command.App, arg string, f queryFlags) error {
	remote, path := "", arg
	if !strings.HasPrefix(arg, "/") {
		if i := strings.IndexByte(arg, ':'); i >= 0 {
			remote, path = arg[:i+1], arg[i+1:]
		}
	}
	if !strings.HasPrefix(path, "/") {
		return errors.New("Query path must start with /")
	}
	server, _, err := a.Parse(remote)
	if err != nil {
		return err
	}
	body, err := queryBody(a, f.data)
	if err != nil {
		return err
	}
	answer, err := server.Open(a.Ctx, client.Request{Method: f.method, Path: path, Body: body})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	return printAnswer(a, server, data, f)
}

// printAnswer prints the metadata of an answer, or all of it with --raw, after waiting for its operation with --wait.
func printAnswer(a *command.App, server *client.Client, data []byte, f queryFlags) error {
	var envelope api.Response
	if json.Unmarshal(data, &envelope) != nil || envelope.Type == "" {
		a.Printf("%s", data) // not every path of the API answers with JSON
		return nil
	}
	if envelope.Type == api.ResponseTypeError {
		return &client.Error{Status: int(envelope.Code), Text: envelope.Error}
	}
	if f.wait && envelope.Type == api.ResponseTypeAsync {
		if err := await(a, server, &envelope); err != nil {
			return err
		}
	}
	if f.raw {
		return printIndented(a, envelope)
	}
	if string(envelope.Metadata) == "{}" || string(envelope.Metadata) == "null" {
		return nil
	}
	return printJSON(a, envelope.Metadata)
}

func queryBody(a *command.App, data string) (any, error) {
	if data == "-" {
		in, err := io.ReadAll(a.In)
		return json.RawMessage(in), err
	}
	if data == "" {
		return nil, nil
	}
	if !json.Valid([]byte(data)) {
		text, err := json.Marshal(data) // a bare word is sent as a JSON text, for the server to judge
		return json.RawMessage(text), err
	}
	return json.RawMessage(data), nil
}

// await replaces envelope by the answer to waiting for its operation.
func await(a *command.App, server *client.Client, envelope *api.Response) error {
	answer, err := server.Do(a.Ctx, client.Request{Method: http.MethodGet, Path: envelope.Operation + "/wait"})
	if err != nil {
		return err
	}
	*envelope = answer.Response
	var op api.Operation
	if json.Unmarshal(answer.Metadata, &op) == nil && op.Err != "" {
		return errors.New(op.Err)
	}
	return nil
}

// printJSON prints JSON with keys in order and an empty line after it.
func printJSON(a *command.App, data []byte) error {
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return err
	}
	return printIndented(a, v)
}

func printIndented(a *command.App, v any) error {
	var pretty bytes.Buffer
	enc := json.NewEncoder(&pretty)
	enc.SetIndent("", "\t")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	a.Printf("%s\n", pretty.Bytes())
	return nil
}
