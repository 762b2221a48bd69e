package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

// copying is one run of image copy.
type copying struct {
	app *command.App

	aliases, profiles                   []string
	autoUpdate, copyAliases, public, vm bool
	mode, project                       string

	from, to *Store
	image    *api.Image
	// name is what the user called the image.
	name string
}

func imageCopy(a *command.App) *cobra.Command {
	c := copying{app: a}
	cmd := a.Leaf(command.Leaf{Use: "copy [<remote>:]<image> <remote>:", Aliases: []string{"cp"}, Short: "Copy images between servers", Least: 2, Most: 2,
		Long: `Copy images between servers

Modes:
  pull  - the target fetches the image from the source (default)
  push  - the source sends the image to the target
  relay - lxc fetches the image from the source and sends it to the target`,
		Example: "lxc image copy ubuntu:24.04 local: --alias u24 --auto-update\n    Copy an image and keep the copy up to date",
		Run:     func(args []string) error { return c.run(args) }})
	f := cmd.Flags()
	f.StringArrayVar(&c.aliases, "alias", nil, "New aliases to add to the image``")
	f.BoolVar(&c.autoUpdate, "auto-update", false, "Keep the image up to date after initial copy")
	f.BoolVar(&c.copyAliases, "copy-aliases", false, "Copy aliases from source")
	f.StringVar(&c.mode, "mode", "pull", "Transfer mode. One of pull, push or relay``")
	f.StringArrayVarP(&c.profiles, "profile", "p", nil, "Profile to apply to the new image``")
	f.BoolVar(&c.public, "public", false, "Make image public")
	f.StringVar(&c.project, "target-project", "", "Copy to a project different from the source``")
	f.BoolVar(&c.vm, "vm", false, "Copy virtual machine images")
	return cmd
}

func (c *copying) run(args []string) (err error) {
	ctx := c.app.Ctx
	if c.from, c.name, err = Open(c.app, args[0]); err != nil {
		return err
	}
	var rest string
	if c.to, rest, err = Open(c.app, args[1]); err != nil {
		return err
	}
	if rest != "" {
		return errors.New("Cannot provide a name for the target image: give it an alias with --alias")
	}
	target, err := c.to.Editable()
	if err != nil {
		return err
	}
	if c.project != "" {
		target = target.InProject(c.project)
		c.to.Server = target
	}
	if c.image, _, err = c.from.Find(ctx, c.name, c.vm); err != nil {
		return err
	}
	if err := c.transfer(ctx); err != nil {
		return err
	}
	aliases := c.aliases
	if c.copyAliases {
		aliases = append(aliases, aliasNames(c.image)...)
	}
	for _, alias := range aliases {
		if err := setAlias(c.app, target, alias, c.image.Fingerprint); err != nil {
			return err
		}
	}
	c.app.Say("Image copied successfully!")
	return nil
}

func (c *copying) transfer(ctx context.Context) error {
	switch c.mode {
	case "pull":
		return c.pull(ctx)
	case "push":
		return c.push(ctx)
	case "relay":
		return c.relay(ctx)
	}
	return fmt.Errorf("Invalid mode %q: it is pull, push or relay", c.mode)
}

// body is the request to the target.
func (c *copying) body(src api.ImagesPostSource) api.ImagesPost {
	post := api.ImagesPost{Source: &src}
	post.AutoUpdate, post.Public, post.Profiles = c.autoUpdate, c.public, c.profiles
	return post
}

// pull has the target fetch the image.
func (c *copying) pull(ctx context.Context) error {
	if c.from.Same(c.to.Server) {
		var src api.ImagesPostSource
		src.Type, src.Mode, src.Fingerprint, src.Project = "image", "pull", c.image.Fingerprint, cmp.Or(c.from.Server.Project(), "default")
		return c.post(c.body(src))
	}
	src, err := c.from.Source(ctx, c.image, c.name)
	if err != nil {
		return err
	}
	return c.post(c.body(src))
}

func (c *copying) post(body api.ImagesPost) error {
	_, err := c.app.Follow(c.to.Server, "Copying the image: ", func() (*client.Operation, error) {
		return c.to.Server.Send(c.app.Ctx, http.MethodPost, "/1.0/images", body, "")
	})
	return err
}

// push has the source send the image to the target, which gives out a secret for that.
func (c *copying) push(ctx context.Context) error {
	source, err := c.from.Editable()
	if err != nil {
		return fmt.Errorf("%w: use --mode=pull or --mode=relay", err)
	}
	if c.autoUpdate {
		return errors.New("--auto-update needs --mode=pull: the target has to know where the image comes from")
	}
	address, certificate, err := c.to.address(ctx)
	if err != nil {
		return err
	}
	var src api.ImagesPostSource
	src.Type, src.Mode, src.Fingerprint = "image", "push", c.image.Fingerprint
	body := c.body(src)
	body.Properties = c.image.Properties
	token, err := c.to.Server.Send(ctx, http.MethodPost, "/1.0/images", body, "")
	if err != nil {
		return err
	}
	if token == nil {
		return command.Unexpected("the secret for the upload")
	}
	secret, _ := token.Metadata["secret"].(string)
	send := api.ImageExportPost{Target: address, Secret: secret, Certificate: certificate, Project: c.to.Server.Project(), Profiles: c.profiles}
	_, err = c.app.Follow(source, "Copying the image: ", func() (*client.Operation, error) {
		return source.Send(ctx, http.MethodPost, client.Path("images", c.image.Fingerprint, "export"), send, "")
	})
	if err != nil {
		return errors.Join(err, token.Cancel(context.WithoutCancel(ctx)))
	}
	return token.Wait(ctx)
}

// relay fetches the image and sends it on, while it arrives.
func (c *copying) relay(ctx context.Context) error {
	if c.autoUpdate {
		return errors.New("--auto-update needs --mode=pull: the target has to know where the image comes from")
	}
	return c.from.Relay(c.to.Server, c.image, client.ImageUpload{Public: c.public, Properties: c.image.Properties, Profiles: c.profiles})
}

// Relay sends an image of the store to a server that may not reach the store itself.
func (s *Store) Relay(to *client.Client, image *api.Image, up client.ImageUpload) error {
	ctx, cancel := context.WithCancel(s.app.Ctx)
	defer cancel()
	type file struct {
		client.ImageFile
		taken chan struct{}
	}
	files, failed := make(chan file), make(chan error, 1)
	go func() {
		err := s.Export(ctx, image, func(f client.ImageFile) error {
			one := file{f, make(chan struct{})}
			select {
			case files <- one:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case <-one.taken:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		failed <- err
		close(files)
	}()
	first, ok := <-files
	if !ok {
		return <-failed
	}
	up.Fingerprint, up.MetaName = image.Fingerprint, first.Name
	up.Meta = ends(first.Body, first.taken)
	if strings.HasPrefix(first.Name, "meta-") {
		second := &late{open: func() (io.Reader, error) {
			f, ok := <-files
			if !ok {
				return nil, errors.Join(errors.New("the second file of the image is missing"), <-failed)
			}
			return ends(f.Body, f.taken), nil
		}}
		up.Rootfs, up.RootfsName, up.VM = second, image.Fingerprint, image.Type == kind(true)
	}
	_, err := s.app.Follow(to, "Copying the image: ", func() (*client.Operation, error) { return to.UploadImage(ctx, up) })
	return err
}

// ends closes done once r is read to its end.
func ends(r io.Reader, done chan struct{}) io.Reader { return &ending{r: r, done: done} }

type ending struct {
	r    io.Reader
	done chan struct{}
	over bool
}

// Read reads on.
func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !e.over {
		e.over = true
		close(e.done)
	}
	return n, err
}

// late is a reader that is opened when it is first read.
type late struct {
	open func() (io.Reader, error)
	r    io.Reader
}

// Read reads on.
func (l *late) Read(p []byte) (n int, err error) {
	if l.r == nil {
		if l.r, err = l.open(); err != nil {
			return 0, err
		}
	}
	return l.r.Read(p)
}

func imageRefresh(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "refresh [<remote>:]<image> [[<remote>:]<image>...]", Short: "Refresh images", Least: 1, Most: -1,
		Long: "Refresh images\n\nThe newest version of each image is fetched from where the image came from.",
		Run: func(args []string) error {
			for _, arg := range args {
				if err := refresh(a, arg); err != nil {
					return err
				}
			}
			return nil
		}})
}

func refresh(a *command.App, arg string) error {
	server, image, _, err := find(a, arg, false)
	if err != nil {
		return err
	}
	op, err := a.Follow(server, "Refreshing the image: ", func() (*client.Operation, error) {
		return server.Send(a.Ctx, http.MethodPost, client.Path("images", image.Fingerprint, "refresh"), nil, "")
	})
	if err != nil {
		return err
	}
	if done, _ := op.Metadata["refreshed"].(bool); done {
		a.Say("Image refreshed successfully!")
		return nil
	}
	a.Say("Image already up to date.")
	return nil
}
