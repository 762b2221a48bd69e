package image

import (
	"context"
	"slices"
	"strings"

	"lxd/internal/host/shelf"
	"lxd/internal/store"
)

// Files are the folders of the image files.
func (s *Service) Files() *shelf.Shelf { return s.d.Files }

// Settle brings the files of every image to the folder of its project. Those that projects with different folders share lie in the
// server's, if one of these has none of its own.
func (s *Service) Settle(ctx context.Context) error {
	if err := s.d.Files.Make(); err != nil {
		return err
	}
	names, err := s.d.Files.Names()
	if err != nil {
		return err
	}
	owners := map[string][]string{}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		clear(owners)
		for _, r := range Collection.AllRev(tx, "") {
			owners[r.Fingerprint] = append(owners[r.Fingerprint], r.Project)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		fingerprint, _, _ := strings.Cut(name, ".")
		if of := owners[fingerprint]; len(of) > 0 { // others are on their way in or out
			if err := s.settle(ctx, s.home(of), fingerprint, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// home is the project in whose folder the files of an image belong.
func (s *Service) home(of []string) string {
	server := s.d.Files.Folder("")
	if i := slices.IndexFunc(of, func(p string) bool { return s.d.Files.Folder(p) == server }); i >= 0 {
		return of[i]
	}
	return slices.Min(of)
}

// settle waits for those who read an image only if it has to be moved.
func (s *Service) settle(ctx context.Context, owner, fingerprint, name string) error {
	if s.d.Files.Settled(owner, name) {
		return nil
	}
	release, err := s.files.take(ctx, fingerprint)
	if err != nil {
		return err
	}
	defer release()
	defer s.reading.hold(fingerprint)()
	return s.d.Files.Move(ctx, owner, name)
}
