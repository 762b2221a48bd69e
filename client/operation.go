package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"lxd/api"
)

// Operation is work that the server does in the background. A nil *Operation is work that was done at once.
type Operation struct {
	// Operation is the state as last seen.
	api.Operation
	client *Client
}

func (c *Client) operationOf(answer *Response) (*Operation, error) {
	if answer.Type != api.ResponseTypeAsync {
		return nil, nil
	}
	op := &Operation{client: c}
	if err := json.Unmarshal(answer.Metadata, &op.Operation); err != nil {
		return nil, fmt.Errorf("the server's operation has an unexpected form: %w", err)
	}
	return op, nil
}

// Operation reads the operation id.
func (c *Client) Operation(ctx context.Context, id string) (*Operation, error) {
	op := &Operation{client: c}
	_, err := c.Get(ctx, Path("operations", id), &op.Operation)
	return op, err
}

// Wait returns when the operation has ended, with the error that it ended with. The state then is the final one.
// Canceling ctx stops the waiting, not the operation.
func (o *Operation) Wait(ctx context.Context) error {
	if o == nil {
		return nil
	}
	var last api.Operation
	_, err := o.client.Get(ctx, Path("operations", o.ID, "wait")+"?timeout=-1", &last)
	if err != nil {
		return err
	}
	o.Operation = last
	if last.StatusCode != api.StatusSuccess && last.Err != "" {
		return errors.New(last.Err)
	}
	return nil
}

// Cancel asks the server to stop the operation.
func (o *Operation) Cancel(ctx context.Context) error {
	return o.client.Apply(ctx, http.MethodDelete, Path("operations", o.ID), nil, "")
}

// EntityURL is the URL of what the operation creates: metadata.entity_url, or for servers that do not tell it there,
// the first resource of kind, an entity type in the singular or the plural.
func (o *Operation) EntityURL(kind string) string {
	if u, ok := o.Metadata["entity_url"].(string); ok && u != "" {
		return u
	}
	for _, k := range []string{kind, kind + "s"} {
		if urls := o.Resources[k]; len(urls) > 0 {
			return urls[0]
		}
	}
	return ""
}
