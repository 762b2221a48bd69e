// Package image holds images: archives that instances are made from, known by the hash of their bytes, and the aliases that name
// them.
//
// The files of an image lie in one folder, FINGERPRINT and, for a split image, FINGERPRINT.rootfs. Projects that have the same
// image share them; they go with the last one.
package image

import (
	"maps"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Record is an image of a project as stored.
type Record struct {
	Project      string            `json:"project"`
	Fingerprint  string            `json:"fingerprint"`
	Filename     string            `json:"filename,omitempty"`
	Type         string            `json:"type"`
	Architecture string            `json:"architecture"`
	Size         int64             `json:"size"`
	Public       bool              `json:"public,omitempty"`
	AutoUpdate   bool              `json:"auto_update,omitempty"`
	Properties   map[string]string `json:"properties,omitempty"`
	// Profiles are those that instances of the image get when the request names none.
	Profiles []string `json:"profiles,omitempty"`
	// Cached images came along with an instance that was made from another server's; they go when they are not used for long.
	Cached bool `json:"cached,omitempty"`
	// Source is where newer versions are looked for; nil is nowhere.
	Source     *Origin   `json:"source,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	UploadedAt time.Time `json:"uploaded_at"`
	LastUsedAt time.Time `json:"last_used_at"`
}

// Origin is the server that an image came from.
type Origin struct {
	Server      string `json:"server"`
	Protocol    string `json:"protocol"`
	Certificate string `json:"certificate,omitempty"`
	// Alias is what names the newest version there; "" when there is none.
	Alias string `json:"alias,omitempty"`
	// Type is the type of instance that was asked for.
	Type string `json:"type,omitempty"`
	// Project is the project there.
	Project string `json:"project,omitempty"`
	// Restricted origins are asked by the rules for those who are not administrators, also when the server looks by itself.
	Restricted bool `json:"restricted,omitempty"`
}

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: "image",
	Key:  func(r Record) string { return Key(r.Project, r.Fingerprint) },
	Refs: func(r Record) []store.Ref { return []store.Ref{project.Ref(r.Project)} },
}

// Key is a record's key.
func Key(project, fingerprint string) string { return project + "/" + fingerprint }

// URL is the image's address.
func (r Record) URL() string { return project.URL("", "images", r.Fingerprint) }

// ETag is the part of the record that If-Match guards.
func (r Record) ETag() any { return []any{r.Public, r.AutoUpdate, orEmpty(r.Properties)} }

// API is the record as clients see it. It must not be given a Tx that writes.
func (r Record) API(tx store.Tx) api.Image {
	img := api.Image{
		Aliases: aliasesOf(tx, r), Architecture: r.Architecture, Public: r.Public, Filename: r.Filename, Fingerprint: r.Fingerprint,
		Size: r.Size, AutoUpdate: r.AutoUpdate, Type: r.Type, CreatedAt: r.CreatedAt, ExpiresAt: orEpoch(r.ExpiresAt),
		LastUsedAt: orEpoch(r.LastUsedAt), UploadedAt: r.UploadedAt, Properties: maps.Clone(orEmpty(r.Properties)),
		Profiles: append([]string{}, r.Profiles...), Project: r.Project, Cached: r.Cached,
	}
	if o := r.Source; o != nil {
		img.UpdateSource = &api.ImageSource{Server: o.Server, Protocol: o.Protocol, Certificate: o.Certificate, Alias: o.Alias, ImageType: o.Type}
	}
	return img
}

// orEpoch is how clients see a time that is not set.
func orEpoch(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return t
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// change is the lifecycle event of an image.
func (r Record) change(action string) event.Change {
	return event.Change{Action: action, Source: r.URL(), Project: r.Project, Name: r.Fingerprint}
}

// Bounds of the part of a fingerprint that names an image.
const minPrefix, maxPrefix = 12, 64

// CheckPrefix fails with Invalid on what cannot be a fingerprint or the beginning of one.
func CheckPrefix(s string) error {
	if len(s) < minPrefix || len(s) > maxPrefix || !isHex(s) {
		return errs.Newf(errs.Invalid, "invalid image fingerprint %q: give its first %d to %d digits, 0-9 and a-f", s, minPrefix, maxPrefix)
	}
	return nil
}

func isHex(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// find loads the image of a project by the beginning of its fingerprint.
func find(tx store.Tx, owner, prefix string) (found Record, err error) {
	if err := CheckPrefix(prefix); err != nil {
		return found, err
	}
	n := 0
	for r, err := range Collection.All(tx, Key(owner, prefix)) {
		if err != nil {
			return found, err
		}
		found, n = r, n+1
	}
	switch n {
	case 0:
		return found, errs.Newf(errs.NotFound, "image %q not found in project %q", prefix, owner)
	case 1:
		return found, nil
	}
	return found, errs.Newf(errs.Invalid, "%d images have a fingerprint that begins with %q: give more digits", n, prefix)
}

// Kept tells whether any project has the image.
func (s *Service) Kept(tx store.Tx, fingerprint string) (bool, error) { return kept(tx, fingerprint) }

func kept(tx store.Tx, fingerprint string) (bool, error) {
	for r, err := range Collection.All(tx, "") {
		if err != nil || r.Fingerprint == fingerprint {
			return err == nil, err
		}
	}
	return false, nil
}
