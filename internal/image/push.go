package image

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"sync"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/image/source"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// pushes are the open invitations to send images. Each is good for one upload, and lasts as long as its operation.
type pushes struct {
	mu   sync.Mutex
	open map[string]*push
}

// push is one invitation.
type push struct {
	project string
	wish    Wish
	// done is closed when err says how the import ended.
	once sync.Once
	done chan struct{}
	err  error
}

// settle ends an invitation.
func (p *push) settle(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.done)
	})
}

// pushed ends the operation of the invitation that an upload came by.
func (u *Upload) pushed(err error) {
	if u.push != nil {
		u.push.settle(err)
	}
}

// newSecret makes 256 bits that nobody can guess.
func newSecret() (string, error) {
	raw := make([]byte, 32)
	_, err := rand.Read(raw)
	return hex.EncodeToString(raw), err
}

// invite returns the operation that holds a secret by which another server can send an image here.
func (s *Service) invite(ctx context.Context, o Order) (op.Spec, error) {
	word, err := newSecret()
	if err != nil {
		return op.Spec{}, err
	}
	p := &push{project: o.Project, wish: wishOf(o.Post), done: make(chan struct{})}
	p.wish.Fingerprint = o.Post.Source.Fingerprint // "" is any: older clients do not say
	err = s.view(ctx, o.Project, func(tx store.Tx, owner string) error {
		i := importing{s: s, project: o.Project, r: Record{Project: owner}, u: &Upload{Wish: p.wish}}
		return i.admit(tx)
	})
	if err != nil {
		return op.Spec{}, err
	}
	s.pushes.add(word, p) // good at once, before the operation has come as far as to run
	return op.Spec{
		Kind: "image-push", Class: op.TokenClass, Description: api.OperationDownloadingImage.String(), Project: o.Project,
		Resources: map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", o.Project)}},
		Metadata: map[string]any{"secret": word, "fingerprint": p.wish.Fingerprint, "aliases": o.Post.Aliases, "expires_at": o.Post.ExpiresAt,
			"properties": o.Post.Properties, "public": o.Post.Public},
		Run: func(ctx context.Context, _ *op.Task) error {
			defer s.pushes.take(word, "")
			select {
			case <-p.done:
				return p.err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}, nil
}

func (p *pushes) add(word string, one *push) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[string]*push{}
	}
	p.open[word] = one
}

// take finds an open invitation and ends it; project "" is any.
func (p *pushes) take(word, project string) *push {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found *push
	for w, one := range p.open {
		same := subtle.ConstantTimeCompare([]byte(w), []byte(word)) == 1
		if same && (project == "" || one.project == project) {
			found = one
			delete(p.open, w)
		}
	}
	return found
}

// Invited finds the open invitation of a secret and takes it up: an upload of its image may follow, once.
func (s *Service) Invited(proj, word string) (*Invitation, error) {
	if p := s.pushes.take(word, proj); word != "" && p != nil {
		return &Invitation{p}, nil
	}
	return nil, errs.Newf(errs.Forbidden, "not authorized: no upload is expected with this secret")
}

// Invitation is a permission to send one image.
type Invitation struct{ *push }

// Accept makes the upload what was invited. It must follow before Import.
func (i *Invitation) Accept(u *Upload) {
	filename := u.Filename
	if i.wish.Fingerprint != "" && u.Wish.Fingerprint != "" && u.Wish.Fingerprint != i.wish.Fingerprint && u.flaw == nil {
		u.flaw = errs.Newf(errs.Invalid, "image %s was announced, not %s", i.wish.Fingerprint, u.Wish.Fingerprint)
	}
	props, announced := u.Properties, u.Wish.Fingerprint
	u.Wish = i.wish
	u.Wish.Fingerprint = cmp.Or(u.Wish.Fingerprint, announced)
	if len(u.Properties) == 0 {
		u.Properties = props
	}
	u.Filename, u.push = filename, i.push
}

// Reject ends the invitation after an upload that failed before it became work.
func (i *Invitation) Reject(err error) { i.settle(err) }

// Wait blocks until the image is there, or could not be imported.
func (i *Invitation) Wait(ctx context.Context) error {
	select {
	case <-i.done:
		return i.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Push returns the work that sends an image to another server, which expects it.
func (s *Service) Push(ctx context.Context, proj, prefix string, post api.ImageExportPost) (op.Spec, error) {
	img, _, err := s.Get(ctx, proj, prefix)
	if err != nil {
		return op.Spec{}, err
	}
	to := source.Target{Server: post.Target, Certificate: post.Certificate, Secret: post.Secret, Project: post.Project,
		Open: !op.CallerOf(ctx).Restricted}
	if err := to.Check(); err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "image-send", Description: api.OperationDownloadingImage.String(), Project: proj,
		Resources: map[string][]string{string(api.EntityTypeImage): {"/1.0/images/" + img.Fingerprint}},
		Run: func(ctx context.Context, _ *op.Task) (err error) {
			parts, err := s.Export(ctx, img.Project, img.Fingerprint)
			if err != nil {
				return err
			}
			defer closeAll(parts)
			var files []source.Part
			for _, p := range parts {
				files = append(files, source.Part{Name: p.Name, Filename: p.Filename, Body: p.File})
			}
			err = s.d.Sources.Send(ctx, to, img, files)
			if err != nil && ctx.Err() == nil && errs.KindOf(err) == errs.Internal && !errors.Is(err, context.Canceled) {
				err = errs.Newf(errs.Unavailable, "the image could not be sent: %w", err)
			}
			return err
		},
	}, nil
}
