package image

import (
	"context"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Alias is another name of an image, as stored.
type Alias struct {
	Project     string `json:"project"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Target is the fingerprint of the image.
	Target string `json:"target"`
}

// Aliases is where the aliases live. A name may have slashes in it.
var Aliases = store.Collection[Alias]{
	Name: "image_alias",
	Key:  func(a Alias) string { return Key(a.Project, a.Name) },
	Refs: func(a Alias) []store.Ref {
		return []store.Ref{{Collection: Collection.Name, Key: Key(a.Project, a.Target)}, project.Ref(a.Project)}
	},
}

// URL is the alias's address.
func (a Alias) URL() string { return project.URL("", "images", "aliases", a.Name) }

// API is the alias as clients see it.
func (a Alias) API(tx store.Tx) api.ImageAliasesEntry {
	e := api.ImageAliasesEntry{Name: a.Name, Description: a.Description, Target: a.Target, Type: string(api.InstanceTypeContainer)}
	if r, err := Collection.Get(tx, Key(a.Project, a.Target)); err == nil {
		e.Type = r.Type
	}
	return e
}

func (a Alias) change(action string) event.Change {
	return event.Change{Action: action, Source: a.URL(), Project: a.Project, Name: a.Name, Context: map[string]any{"target": a.Target}}
}

// aliasesOf lists the aliases of an image in order of name.
func aliasesOf(tx store.Tx, r Record) []api.ImageAlias {
	list := []api.ImageAlias{}
	for _, user := range Collection.UsedBy(tx, Key(r.Project, r.Fingerprint)) {
		if user.Collection != Aliases.Name {
			continue
		}
		if a, err := Aliases.Get(tx, user.Key); err == nil {
			list = append(list, api.ImageAlias{Name: a.Name, Description: a.Description})
		}
	}
	return list
}

// CheckAlias fails with Invalid on a name that an alias may not have.
func CheckAlias(name string) error {
	switch {
	case name == "":
		return errs.Newf(errs.Invalid, "the alias has no name")
	case len(name) > 255:
		return errs.Newf(errs.Invalid, "the alias name is longer than 255 characters")
	case strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/"):
		return errs.Newf(errs.Invalid, "alias name %q begins or ends with a slash", name)
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f {
			return errs.Newf(errs.Invalid, "alias name %q has a control character in it", name)
		}
	}
	return nil
}

// AliasList loads the aliases of a project.
func (s *Service) AliasList(ctx context.Context, proj string) (out []api.ImageAliasesEntry, err error) {
	err = s.view(ctx, proj, func(tx store.Tx, owner string) error {
		for a, err := range Aliases.All(tx, owner+"/") {
			if err != nil {
				return err
			}
			out = append(out, a.API(tx))
		}
		return nil
	})
	return out, err
}

// AliasGet loads one alias; what If-Match guards is the alias itself. With public, only the alias of a public image is found.
func (s *Service) AliasGet(ctx context.Context, proj, name string, public bool) (e api.ImageAliasesEntry, err error) {
	err = s.view(ctx, proj, func(tx store.Tx, owner string) error {
		a, err := Aliases.Get(tx, Key(owner, name))
		if err != nil {
			return err
		}
		r, err := Collection.Get(tx, Key(owner, a.Target))
		if err == nil && public && !r.Public {
			err = errs.Newf(errs.NotFound, "image alias %q not found", name)
		}
		e = a.API(tx)
		return err
	})
	return e, err
}

// AliasCreate adds an alias.
func (s *Service) AliasCreate(ctx context.Context, proj string, post api.ImageAliasesPost) error {
	if err := CheckAlias(post.Name); err != nil {
		return err
	}
	if post.Target == "" {
		return errs.Newf(errs.Invalid, "alias %q has no target: give the fingerprint of an image", post.Name)
	}
	return s.update(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := find(tx, owner, post.Target)
		if err != nil {
			return err
		}
		a := Alias{Project: owner, Name: post.Name, Description: post.Description, Target: r.Fingerprint}
		tx.Announce(a.change(api.LifecycleImageAliasCreated))
		return Aliases.Insert(tx, a)
	})
}

// AliasUpdate points an alias to another image, or describes it anew.
func (s *Service) AliasUpdate(ctx context.Context, proj, name string, put api.ImageAliasesEntryPut) error {
	if put.Target == "" {
		return errs.Newf(errs.Invalid, "alias %q needs a target: give the fingerprint of an image", name)
	}
	return s.update(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := find(tx, owner, put.Target)
		if err != nil {
			return err
		}
		return Aliases.Modify(tx, Key(owner, name), func(a *Alias) error {
			a.Description, a.Target = put.Description, r.Fingerprint
			tx.Announce(a.change(api.LifecycleImageAliasUpdated))
			return nil
		})
	})
}

// AliasRename gives an alias another name.
func (s *Service) AliasRename(ctx context.Context, proj, from, to string) error {
	if err := CheckAlias(to); err != nil {
		return err
	}
	return s.update(ctx, proj, func(tx store.Tx, owner string) error {
		a, err := Aliases.Get(tx, Key(owner, from))
		if err != nil {
			return err
		}
		a.Name = to
		c := a.change(api.LifecycleImageAliasRenamed)
		c.Context = map[string]any{"old_name": from}
		tx.Announce(c)
		if err := Aliases.Insert(tx, a); err != nil {
			return err
		}
		return Aliases.Delete(tx, Key(owner, from))
	})
}

// AliasDelete removes an alias; a missing one is an error.
func (s *Service) AliasDelete(ctx context.Context, proj, name string) error {
	return s.update(ctx, proj, func(tx store.Tx, owner string) error {
		a, err := Aliases.Get(tx, Key(owner, name))
		if err != nil {
			return err
		}
		tx.Announce(a.change(api.LifecycleImageAliasDeleted))
		return Aliases.Delete(tx, Key(owner, name))
	})
}
