package command

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/term"
)

// Follow starts an operation and waits for its end. On a terminal it shows the progress, headed by label.
func (a *App) Follow(server *client.Client, label string, start func() (*client.Operation, error)) (*client.Operation, error) {
	if a.Flags.Quiet || !term.Is(a.Out) {
		op, err := start()
		if err != nil || op == nil {
			return op, err
		}
		return op, a.watch(op)
	}
	p := &progress{line: term.Progress{Out: a.Out}, label: label}
	events, err := server.Events(a.Ctx, client.EventFilter{Types: []string{"operation"}})
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
	go func() { done <- op.Wait(a.Ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-stop:
			signal.Stop(stop)
			if err := op.Cancel(a.Ctx); err != nil {
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
