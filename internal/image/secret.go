package image

import (
	"context"
	"crypto/subtle"
	"sync"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

// secrets are the open invitations to download images: each lets one export through, and lasts as long as its operation.
type secrets struct {
	mu   sync.Mutex
	open map[string]*secret
}

type secret struct {
	project, fingerprint string
	used                 chan struct{}
}

// Secret returns the operation that holds a secret by which a client that is not trusted can download an image once.
func (s *Service) Secret(ctx context.Context, proj, prefix string) (op.Spec, error) {
	var r Record
	err := s.view(ctx, proj, func(tx store.Tx, owner string) (err error) {
		r, err = find(tx, owner, prefix)
		return err
	})
	if err != nil {
		return op.Spec{}, err
	}
	word, err := newSecret()
	if err != nil {
		return op.Spec{}, err
	}
	// It is good at once: a client may use it before the operation has come as far as to run. One that never runs is told to nobody.
	x := s.secrets.add(word, r)
	if err := s.tell(ctx, api.LifecycleImageSecretCreated, proj, r.Fingerprint); err != nil {
		s.secrets.remove(word)
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "image-secret", Class: op.TokenClass, Description: api.OperationImageDownloadToken.String(), Project: proj,
		Resources: map[string][]string{string(api.EntityTypeImage): {r.URL()}},
		Metadata:  map[string]any{"secret": word},
		Run: func(ctx context.Context, _ *op.Task) error {
			defer s.secrets.remove(word)
			select {
			case <-x.used:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}, nil
}

func (s *secrets) add(word string, r Record) *secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]*secret{}
	}
	x := &secret{project: r.Project, fingerprint: r.Fingerprint, used: make(chan struct{})}
	s.open[word] = x
	return x
}

func (s *secrets) remove(word string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, word)
}

// match finds an open secret without telling by its time how much of it was right; use ends it.
func (s *secrets) match(word, project, fingerprint string, use bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := ""
	for w, x := range s.open {
		same := subtle.ConstantTimeCompare([]byte(w), []byte(word)) == 1
		if same && x.project == project && x.fingerprint == fingerprint {
			found = w
		}
	}
	if found == "" {
		return false
	}
	if use {
		close(s.open[found].used)
		delete(s.open, found)
	}
	return true
}

// Admit lets someone who is not trusted see an image: a public one, or one that they know an open secret of. With use, as for a
// download, the secret is spent. Else the image is as good as missing.
func (s *Service) Admit(ctx context.Context, proj, prefix, word string, use bool) error {
	return s.view(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := find(tx, owner, prefix)
		if err != nil {
			return err
		}
		if r.Public || word != "" && s.secrets.match(word, r.Project, r.Fingerprint, use) {
			return nil
		}
		return errs.Newf(errs.NotFound, "image %q not found in project %q", prefix, owner)
	})
}
