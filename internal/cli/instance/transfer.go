package instance

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
)

// elsewhere tells whether two connections lead to different servers.
func elsewhere(from, to *client.Client) bool { return base(from) != base(to) }

// base is the address of a server.
func base(c *client.Client) string {
	address, _, _ := strings.Cut(c.URL(""), "?")
	return address
}

// transfer is the copying of one instance to another server.
type transfer struct {
	a        *command.App
	f        *copyFlags
	from, to *client.Client
	source   string
	src      *api.Instance
	// same keeps the identity of the instance, as for a move.
	same bool
}

// run has both servers do it, in the mode that the flags ask for. A server without an address of its own is relayed.
func (t *transfer) run(body *api.InstancesPost) error {
	t.complete(body)
	if t.f.project != "" {
		t.to = t.to.InProject(t.f.project)
	}
	var address string
	var err error
	switch t.f.mode {
	case "pull":
		address, err = t.address(t.from)
	case "push":
		address, err = t.address(t.to)
	case "relay":
	default:
		return fmt.Errorf("Unknown transfer mode %q: it is pull, push or relay", t.f.mode)
	}
	if err != nil {
		return err
	}
	mode := t.f.mode
	if address == "" {
		mode = "relay"
	}
	switch mode {
	case "pull":
		err = t.pull(body, address)
	case "push":
		err = t.push(body, address)
	default:
		err = t.relay(body)
	}
	if err != nil || !t.f.start {
		return err
	}
	return startCreated(t.a, &created{server: t.to.OnTarget(""), name: body.Name})
}

// complete fills in what the other server cannot know.
func (t *transfer) complete(body *api.InstancesPost) {
	if body.Name == "" {
		body.Name = t.source
	}
	config := maps.Clone(t.src.Config)
	if !t.same {
		maps.DeleteFunc(config, func(k, _ string) bool { return strings.HasPrefix(k, "volatile.") && k != "volatile.base_image" })
	}
	maps.Copy(config, body.Config)
	devices := maps.Clone(t.src.Devices)
	maps.Copy(devices, body.Devices)
	body.Config, body.Devices, body.Architecture, body.Description = config, devices, t.src.Architecture, t.src.Description
	body.Source = api.InstanceSource{Type: api.SourceTypeMigration, BaseImage: config["volatile.base_image"], InstanceOnly: t.f.instanceOnly,
		ContainerOnly: t.f.instanceOnly, Refresh: t.f.refresh, AllowInconsistent: t.f.inconsistent}
}

// address is where a server is reached over the network; "" if it is not.
func (t *transfer) address(c *client.Client) (string, error) {
	if b := base(c); strings.HasPrefix(b, "https://") {
		return b, nil
	}
	info, err := c.Server(t.a.Ctx)
	if err != nil || len(info.Environment.Addresses) == 0 {
		return "", err
	}
	return "https://" + info.Environment.Addresses[0], nil
}

// certificate is that of a server.
func (t *transfer) certificate(c *client.Client) (string, error) {
	info, err := c.Server(t.a.Ctx)
	if err != nil {
		return "", err
	}
	return info.Environment.Certificate, nil
}

// send asks the source to send, to target if that is given.
func (t *transfer) send(target *api.InstancePostTarget) (*client.Operation, error) {
	body := api.InstancePost{Name: t.source, Migration: true, InstanceOnly: t.f.instanceOnly, ContainerOnly: t.f.instanceOnly,
		AllowInconsistent: t.f.inconsistent, Target: target}
	return t.from.Send(t.a.Ctx, http.MethodPost, device.InstancePath([]string{t.source}), body, "")
}

// receive asks the target to receive.
func (t *transfer) receive(body *api.InstancesPost) (*client.Operation, error) {
	return t.to.OnTarget(t.f.target).Send(t.a.Ctx, http.MethodPost, "/1.0/instances", body, "")
}

// secrets are what opens the streams of an operation.
func secrets(op *client.Operation) map[string]string {
	out := map[string]string{}
	if op != nil {
		for _, name := range []string{"control", "fs"} {
			out[name], _ = op.Metadata[name].(string)
		}
	}
	return out
}

// follow waits for the receiving side, and if it fails ends the sending one.
func (t *transfer) follow(sending, receiving *client.Operation) error {
	_, err := t.a.Follow(t.to, "Transferring instance: ", func() (*client.Operation, error) { return receiving, nil })
	if err != nil {
		_ = sending.Cancel(t.a.Ctx) // it may have ended by itself
		return err
	}
	return sending.Wait(t.a.Ctx)
}

func (t *transfer) pull(body *api.InstancesPost, address string) error {
	sending, err := t.send(nil)
	if err != nil {
		return err
	}
	if body.Source.Certificate, err = t.certificate(t.from); err != nil {
		return err
	}
	body.Source.Mode, body.Source.Operation, body.Source.Websockets = "pull", address+"/1.0/operations/"+sending.ID, secrets(sending)
	receiving, err := t.receive(body)
	if err != nil {
		_ = sending.Cancel(t.a.Ctx) // the error told is the one that matters
		return err
	}
	return t.follow(sending, receiving)
}

func (t *transfer) push(body *api.InstancesPost, address string) error {
	body.Source.Mode = "push"
	receiving, err := t.receive(body)
	if err != nil {
		return err
	}
	certificate, err := t.certificate(t.to)
	if err != nil {
		return err
	}
	sending, err := t.send(&api.InstancePostTarget{Operation: address + "/1.0/operations/" + receiving.ID, Websockets: secrets(receiving), Certificate: certificate})
	if err != nil {
		_ = receiving.Cancel(t.a.Ctx) // likewise
		return err
	}
	return t.follow(sending, receiving)
}

// relay carries the streams between two servers that cannot reach each other.
func (t *transfer) relay(body *api.InstancesPost) error {
	body.Source.Mode = "push"
	receiving, err := t.receive(body)
	if err != nil {
		return err
	}
	sending, err := t.send(nil)
	if err != nil {
		_ = receiving.Cancel(t.a.Ctx) // likewise
		return err
	}
	for _, name := range []string{"control", "fs"} {
		from, err := t.from.Websocket(t.a.Ctx, sending.ID, secrets(sending)[name])
		if err != nil {
			return err
		}
		defer from.Close()
		to, err := t.to.Websocket(t.a.Ctx, receiving.ID, secrets(receiving)[name])
		if err != nil {
			return err
		}
		defer to.Close()
		go carry(from, to)
		go carry(to, from)
	}
	return t.follow(sending, receiving)
}

// carry passes messages on until one side is gone; then the other goes too.
func carry(from, to *websocket.Conn) {
	defer to.Close()
	for {
		kind, b, err := from.ReadMessage()
		if err != nil {
			return
		}
		if err := to.WriteMessage(kind, b); err != nil {
			return
		}
	}
}

// move copies the instance to the other server under a name, and deletes it where it was.
func (t *transfer) move(name string) error {
	if strings.Contains(t.source, "/") {
		return errors.New("Snapshots cannot be moved to another server by themselves: move the instance")
	}
	path := device.InstancePath([]string{t.source})
	if _, err := t.from.Get(t.a.Ctx, path, t.src); err != nil {
		return err
	}
	if t.src.StatusCode != api.StatusStopped {
		return errors.New("Moving a running instance to another server is not supported yet: stop it first")
	}
	body, err := t.f.request(t.source, name, t.src)
	if err != nil {
		return err
	}
	if err := t.run(body); err != nil {
		return err
	}
	if err := t.from.Apply(t.a.Ctx, http.MethodDelete, path, nil, ""); err != nil {
		return fmt.Errorf("the instance was copied, but could not be deleted where it was: %w", err)
	}
	return nil
}
