package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/server"
	"lxd/internal/store"
)

// Secret is what the server signs the cookies of browsers with.
type Secret struct {
	ID      string    `json:"id"`
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
}

// Secrets is where they are kept. The newest is in use; the older ones are kept as long as what they signed is valid.
var Secrets = store.Collection[Secret]{Name: "auth_secret", Key: func(s Secret) string { return s.ID }}

// current returns the secret to sign with. When that has been in use for as long as core.auth_secret_expiry says it makes another one.
func (s *Service) current(ctx context.Context) (found Secret, err error) {
	config, err := s.d.Config(ctx)
	if err != nil {
		return found, err
	}
	fresh := Secret{ID: op.NewUUID(), Key: make([]byte, 32), Created: s.d.Now().UTC()}
	_, _ = rand.Read(fresh.Key) // never fails
	newest := func(tx store.Tx) error {
		found = Secret{}
		for one, err := range Secrets.All(tx, "") {
			if err != nil {
				return err
			}
			until, err := schema.ExpiresAt(one.Created, server.Keys().Get(config, server.AuthSecretExpiry))
			if err != nil {
				return err
			}
			if until.After(fresh.Created) && one.Created.After(found.Created) {
				found = one
			}
		}
		return nil
	}
	if err := s.d.Store.View(ctx, newest); err != nil || found.ID != "" {
		return found, err
	}
	err = s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := newest(tx); err != nil || found.ID != "" {
			return err
		}
		found = fresh
		return errors.Join(prune(tx), Secrets.Insert(tx, fresh))
	})
	return found, err
}

// prune removes the secrets that no session needs; the newest stays, for those who are about to have a session.
func prune(tx store.Tx) error {
	needed := map[string]bool{}
	for one, err := range Sessions.All(tx, "") {
		if err != nil {
			return err
		}
		needed[one.Secret] = true
	}
	var gone []string
	var newest Secret
	for one, err := range Secrets.All(tx, "") {
		if err != nil {
			return err
		}
		if one.Created.After(newest.Created) {
			newest = one
		}
		if !needed[one.ID] {
			gone = append(gone, one.ID)
		}
	}
	gone = slices.DeleteFunc(gone, func(id string) bool { return id == newest.ID })
	for _, id := range gone {
		if err := Secrets.Delete(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// sign is the proof that this server wrote text for that purpose.
func (k Secret) sign(purpose, text string) string {
	m := hmac.New(sha512.New, k.Key)
	m.Write([]byte(purpose + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// signed tells whether proof is that of sign.
func (k Secret) signed(purpose, text, proof string) bool {
	return len(k.Key) > 0 && hmac.Equal([]byte(k.sign(purpose, text)), []byte(proof))
}

// secret loads one of the secrets.
func (s *Service) secret(ctx context.Context, id string) (found Secret, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		found, err = Secrets.Get(tx, id)
		return err
	})
	if errs.Is(err, errs.NotFound) {
		return Secret{}, nil // fits nothing
	}
	return found, err
}
