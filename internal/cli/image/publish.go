package image

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// publishing is one run of publish.
type publishing struct {
	app                  *command.App
	aliases              []string
	compression, expire  string
	force, public, reuse bool

	from, to *client.Client
	instance string
	snapshot string
}

// Publish is the command "lxc publish".
func Publish(a *command.App) *cobra.Command {
	p := publishing{app: a}
	cmd := a.Leaf(command.Leaf{Use: "publish [<remote>:]<instance>[/<snapshot>] [<remote>:] [flags] [key=value...]", Short: "Publish instances as images",
		Least: 1, Most: -1,
		Example: "lxc publish c1 --alias mine description='what I made of it'\n    Make an image of the stopped instance c1\n\nlxc publish c1/snap0 --alias mine --reuse\n    Make one of its snapshot, and take over the alias of an earlier image",
		Run:     func(args []string) error { return p.run(args) }})
	f := cmd.Flags()
	f.StringArrayVar(&p.aliases, "alias", nil, "New alias to define at target``")
	f.StringVar(&p.compression, "compression", "", "Compression algorithm to use (none for uncompressed)``")
	f.StringVar(&p.expire, "expire", "", "Image expiration date (format: rfc3339)``")
	f.BoolVarP(&p.force, "force", "f", false, "Stop the instance if currently running")
	f.BoolVar(&p.public, "public", false, "Make image public")
	f.BoolVar(&p.reuse, "reuse", false, "If the image alias already exists, delete and create a new one")
	return cmd
}

func (p *publishing) run(args []string) (err error) {
	a := p.app
	properties, err := p.parse(args)
	if err != nil {
		return err
	}
	body, err := p.body(properties)
	if err != nil {
		return err
	}
	replaced, err := p.taken()
	if err != nil {
		return err
	}
	restart, err := p.halt()
	if err != nil {
		return err
	}
	fingerprint, err := p.publish(body)
	if err = errors.Join(err, restart()); err != nil {
		return err
	}
	if err := p.deliver(args[0], fingerprint, body); err != nil {
		return err
	}
	for _, alias := range p.aliases {
		if err := setAlias(a, p.to, alias, fingerprint); err != nil {
			return err
		}
	}
	if err := p.drop(replaced, fingerprint); err != nil {
		return err
	}
	a.Say("Instance published with fingerprint: %s", fingerprint)
	return nil
}

// parse finds out what is to be published where.
func (p *publishing) parse(args []string) (properties map[string]string, err error) {
	var name string
	if p.from, name, err = p.app.Parse(args[0]); err != nil {
		return nil, err
	}
	p.instance, p.snapshot, _ = strings.Cut(name, "/")
	if p.instance == "" {
		return nil, errors.New("Instance name is mandatory")
	}
	rest := args[1:]
	if p.to = p.from; len(rest) > 0 && !strings.Contains(rest[0], "=") {
		var extra string
		if p.to, extra, err = p.app.Parse(rest[0]); err != nil {
			return nil, err
		}
		if extra != "" {
			return nil, errors.New("There is no \"image name\". Did you want an alias? Use --alias")
		}
		rest = rest[1:]
	}
	return command.KeyValues(rest)
}

// body is the request that makes the image.
func (p *publishing) body(properties map[string]string) (post api.ImagesPost, err error) {
	post.Source = &api.ImagesPostSource{Type: "instance", Name: p.instance}
	if p.snapshot != "" {
		post.Source.Type, post.Source.Name = "snapshot", p.instance+"/"+p.snapshot
	}
	post.CompressionAlgorithm, post.Public, post.Properties = p.compression, p.public, properties
	if len(properties) == 0 {
		post.Properties = nil
	}
	if p.expire != "" {
		if post.ExpiresAt, err = time.Parse(time.RFC3339, p.expire); err != nil {
			return post, fmt.Errorf("Invalid expiration date: %w", err)
		}
	}
	return post, nil
}

// taken are the images that have the wanted aliases; without --reuse there may be none.
func (p *publishing) taken() (fingerprints []string, err error) {
	for _, alias := range p.aliases {
		var e api.ImageAliasesEntry
		_, err := p.to.Get(p.app.Ctx, client.Path("images", "aliases", alias), &e)
		switch {
		case client.IsNotFound(err):
		case err != nil:
			return nil, err
		case !p.reuse:
			return nil, fmt.Errorf("Aliases already exists: %s", alias)
		default:
			fingerprints = append(fingerprints, e.Target)
		}
	}
	return fingerprints, nil
}

// halt stops the instance if it runs and may be stopped; what it returns starts it again.
func (p *publishing) halt() (restart func() error, err error) {
	restart = func() error { return nil }
	if p.snapshot != "" {
		return restart, nil
	}
	var inst api.Instance
	etag, err := p.from.Get(p.app.Ctx, client.Path("instances", p.instance), &inst)
	if err != nil || inst.StatusCode == api.StatusStopped {
		return restart, err
	}
	if !p.force {
		return nil, errors.New("The instance is currently running. Use --force to have it stopped and restarted")
	}
	if inst.Ephemeral { // or it would be gone with the stop
		body := inst.Writable()
		body.Ephemeral = false
		if err := p.from.Apply(p.app.Ctx, http.MethodPut, client.Path("instances", p.instance), body, etag); err != nil {
			return nil, err
		}
	}
	state := func(action string) error {
		body := api.InstanceStatePut{Action: action, Timeout: -1, Force: action == "stop"}
		return p.from.Apply(p.app.Ctx, http.MethodPut, client.Path("instances", p.instance, "state"), body, "")
	}
	if err := state("stop"); err != nil {
		return nil, fmt.Errorf("Stopping instance failed: %w", err)
	}
	return func() error {
		err := state("start")
		if err != nil || !inst.Ephemeral {
			return err
		}
		body := inst.Writable()
		return p.from.Apply(p.app.Ctx, http.MethodPut, client.Path("instances", p.instance), body, "")
	}, nil
}

func (p *publishing) publish(body api.ImagesPost) (fingerprint string, err error) {
	op, err := p.app.Follow(p.from, "Publishing instance: ", func() (*client.Operation, error) {
		return p.from.Send(p.app.Ctx, http.MethodPost, "/1.0/images", body, "")
	})
	if err != nil {
		return "", err
	}
	if op != nil {
		fingerprint, _ = op.Metadata["fingerprint"].(string)
	}
	if fingerprint == "" {
		return "", command.Unexpected("the fingerprint of the image")
	}
	return fingerprint, nil
}

// deliver brings the image to the server where it is wanted, if that is another one.
func (p *publishing) deliver(arg, fingerprint string, body api.ImagesPost) error {
	if p.to.URL("") == p.from.URL("") {
		return nil
	}
	remote, _, ok := strings.Cut(arg, ":")
	if remote += ":"; !ok {
		remote = ""
	}
	store, _, err := Open(p.app, remote)
	if err != nil {
		return err
	}
	image, _, err := store.Find(p.app.Ctx, fingerprint, false)
	if err == nil {
		err = store.Relay(p.to, image, client.ImageUpload{Public: body.Public, Properties: image.Properties})
	}
	return errors.Join(err, p.from.Apply(p.app.Ctx, http.MethodDelete, client.Path("images", fingerprint), nil, ""))
}

// drop removes the images whose aliases were taken over, unless they have others.
func (p *publishing) drop(fingerprints []string, fingerprint string) error {
	for _, old := range fingerprints {
		var image api.Image
		_, err := p.to.Get(p.app.Ctx, client.Path("images", old), &image)
		if client.IsNotFound(err) || old == fingerprint {
			continue
		}
		if err == nil && len(image.Aliases) == 0 {
			err = p.to.Apply(p.app.Ctx, http.MethodDelete, client.Path("images", old), nil, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
