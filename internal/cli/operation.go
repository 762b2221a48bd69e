package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/render"
	"lxd/internal/cli/term"
)

func operationCommand(a *App) *cobra.Command {
	return branch("operation", "List, show and delete background operations", operationDelete(a), operationList(a), operationShow(a))
}

func operationDelete(a *App) *cobra.Command {
	return a.leaf(spec{use: "delete [<remote>:]<operation>", aliases: []string{"cancel", "rm"}, short: "Delete background operations (will attempt to cancel)",
		least: 1, most: 1, complete: a.completeNames("operations"),
		run: func(args []string) error {
			server, id, err := a.parse(args[0])
			if err != nil {
				return err
			}
			if err := server.Apply(a.ctx, remove, client.Path("operations", id), nil, ""); err != nil {
				return err
			}
			a.say("Operation %s deleted", id)
			return nil
		}})
}

func operationShow(a *App) *cobra.Command {
	return a.leaf(spec{use: "show [<remote>:]<operation>", short: "Show details on a background operation", least: 1, most: 1,
		complete: a.completeNames("operations"),
		example:  "lxc operation show 344a79e4-d88a-45bf-9c39-c72c26f6ab8a",
		run: func(args []string) error {
			server, id, err := a.parse(args[0])
			if err != nil {
				return err
			}
			op, err := server.Operation(a.ctx, id)
			if err != nil {
				return err
			}
			return render.YAML(a.Out, op.Operation)
		}})
}

func operationList(a *App) *cobra.Command {
	var all bool
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:]", aliases: []string{"ls"}, short: "List background operations", most: 1,
		run: func(args []string) error {
			server, _, err := a.remoteArg(args, 0)
			if err != nil {
				return err
			}
			path := recursive("/1.0/operations")
			if all {
				path = query(path, "all-projects", "true")
			}
			var byStatus map[string][]api.Operation
			if _, err := server.Get(a.ctx, path, &byStatus); err != nil {
				return err
			}
			ops := []api.Operation{}
			for _, some := range byStatus {
				ops = append(ops, some...)
			}
			return a.printOperations(ops, *shape)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "List operations from all projects")
	shape = format(cmd)
	return cmd
}

func (a *App) printOperations(ops []api.Operation, shape string) error {
	letters := "itdsCc"
	if slices.ContainsFunc(ops, func(o api.Operation) bool { return o.Location != "" && o.Location != "none" }) {
		letters += "L"
	}
	cols, err := pick(letters, []column[api.Operation]{
		{'i', "ID", func(o *api.Operation) string { return o.ID }},
		{'t', "TYPE", func(o *api.Operation) string { return strings.ToUpper(o.Class) }},
		{'d', "DESCRIPTION", func(o *api.Operation) string { return o.Description }},
		{'s', "STATUS", func(o *api.Operation) string { return strings.ToUpper(o.Status) }},
		{'C', "CANCELABLE", func(o *api.Operation) string { return yesNo(o.MayCancel) }},
		{'c', "CREATED", func(o *api.Operation) string { return render.Time(o.CreatedAt) }},
		{'L', "LOCATION", func(o *api.Operation) string { return o.Location }},
	})
	if err != nil {
		return err
	}
	header, rows := layOut(cols, ops)
	return a.list(shape, header, rows, ops)
}

// follow starts an operation and waits for its end. On a terminal it shows the progress, headed by label.
func (a *App) follow(server *client.Client, label string, start func() (*client.Operation, error)) (*client.Operation, error) {
	if a.flags.quiet || !term.Is(a.Out) {
		op, err := start()
		if err != nil || op == nil {
			return op, err
		}
		return op, a.watch(op)
	}
	p := &progress{line: term.Progress{Out: a.Out}, label: label}
	events, err := server.Events(a.ctx, client.EventFilter{Types: []string{"operation"}})
	if err == nil { // an older or restricted server may refuse: then there is no progress to show
		defer events.Close()
		go p.watch(events)
	}
	defer p.end()
	op, err := start()
	if err != nil || op == nil {
		return op, err
	}
	p.only(op.ID)
	return op, a.watch(op)
}

// watch waits for the end of an operation. Ctrl+c cancels the operation; pressed once more it ends lxc.
func (a *App) watch(op *client.Operation) error {
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, os.Interrupt)
	defer signal.Stop(stop)
	done := make(chan error, 1)
	go func() { done <- op.Wait(a.ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-stop:
			signal.Stop(stop)
			if err := op.Cancel(a.ctx); err != nil {
				return fmt.Errorf("cancelling the operation: %w", err)
			}
		}
	}
}

// progress shows how far an operation has got.
type progress struct {
	mu    sync.Mutex
	line  term.Progress
	label string
	id    string
}

// only says which operation's progress is to be shown.
func (p *progress) only(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id = id
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id = ""
	p.line.Clear()
}

func (p *progress) watch(events *client.Events) {
	for {
		ev, err := events.Next()
		if err != nil {
			return // the stream was closed
		}
		var op api.Operation
		if json.Unmarshal(ev.Metadata, &op) != nil {
			continue
		}
		p.mu.Lock()
		if text := progressText(&op); op.ID == p.id && text != "" {
			p.line.Show(p.label + text)
		}
		p.mu.Unlock()
	}
}

// progressText is what an operation tells of its progress, in the key of its metadata that ends in _progress.
func progressText(op *api.Operation) string {
	for key, value := range op.Metadata {
		if text, ok := value.(string); ok && strings.HasSuffix(key, "_progress") {
			return text
		}
	}
	return ""
}
