package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
)

// queryFlags are the flags of query.
type queryFlags struct {
	method, data string
	raw, wait    bool
}

func queryCommand(a *App) *cobra.Command {
	var f queryFlags
	cmd := a.leaf(spec{use: "query [<remote>:]<API path>", short: "Send a raw query to LXD", least: 1, most: 1,
		example: "lxc query -X DELETE --wait /1.0/instances/c1\n    Delete instance c1 and wait until it is gone",
		run:     func(args []string) error { return a.query(args[0], f) }})
	cmd.Flags().StringVarP(&f.data, "data", "d", "", "Input data (- for standard input)``")
	cmd.Flags().BoolVar(&f.raw, "raw", false, "Print the raw response")
	cmd.Flags().StringVarP(&f.method, "request", "X", "GET", "Action (defaults to GET)``")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "Wait for the operation to complete")
	return cmd
}

func (a *App) query(arg string, f queryFlags) error {
	remote, path := "", arg
	if !strings.HasPrefix(arg, "/") {
		if i := strings.IndexByte(arg, ':'); i >= 0 {
			remote, path = arg[:i+1], arg[i+1:]
		}
	}
	if !strings.HasPrefix(path, "/") {
		return errors.New("Query path must start with /")
	}
	server, _, err := a.parse(remote)
	if err != nil {
		return err
	}
	body, err := a.queryBody(f.data)
	if err != nil {
		return err
	}
	answer, err := server.Open(a.ctx, client.Request{Method: f.method, Path: path, Body: body})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	return a.printAnswer(server, data, f)
}

// printAnswer prints the metadata of an answer, or all of it with --raw, after waiting for its operation with --wait.
func (a *App) printAnswer(server *client.Client, data []byte, f queryFlags) error {
	var envelope api.Response
	if json.Unmarshal(data, &envelope) != nil || envelope.Type == "" {
		a.printf("%s", data) // not every path of the API answers with JSON
		return nil
	}
	if envelope.Type == api.ResponseTypeError {
		return &client.Error{Status: int(envelope.Code), Text: envelope.Error}
	}
	if f.wait && envelope.Type == api.ResponseTypeAsync {
		if err := a.await(server, &envelope); err != nil {
			return err
		}
	}
	if f.raw {
		return a.printIndented(envelope)
	}
	if string(envelope.Metadata) == "{}" || string(envelope.Metadata) == "null" {
		return nil
	}
	return a.printJSON(envelope.Metadata)
}

func (a *App) queryBody(data string) (any, error) {
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
func (a *App) await(server *client.Client, envelope *api.Response) error {
	answer, err := server.Do(a.ctx, client.Request{Method: get, Path: envelope.Operation + "/wait"})
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
func (a *App) printJSON(data []byte) error {
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return err
	}
	return a.printIndented(v)
}

func (a *App) printIndented(v any) error {
	var pretty bytes.Buffer
	enc := json.NewEncoder(&pretty)
	enc.SetIndent("", "\t")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	a.printf("%s\n", pretty.Bytes())
	return nil
}

func versionCommand(a *App) *cobra.Command {
	return a.leaf(spec{use: "version [<remote>:]", short: "Show local and remote versions", most: 1,
		run: func(args []string) error {
			name := "unreachable"
			server, _, err := a.remoteArg(args, 0)
			if err == nil {
				if info, err := server.Server(a.ctx); err == nil {
					name = info.Environment.ServerVersion
				}
				if name == "" {
					name = "unknown"
				}
			}
			a.printf("Client version: %s\nServer version: %s\n", version, name)
			return nil
		}})
}

// unexpected is an answer of the server that lacks something.
func unexpected(what string) error { return fmt.Errorf("the server's answer lacks %s", what) }
