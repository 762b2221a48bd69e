package image

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// Keys of the server's configuration that images follow; a project may have values of its own.
const (
	AutoUpdateCached    = "images.auto_update_cached"
	AutoUpdateInterval  = "images.auto_update_interval"
	Compression         = "images.compression_algorithm"
	DefaultArchitecture = "images.default_architecture"
	RemoteCacheExpiry   = "images.remote_cache_expiry"
)

// setting is what a project says of a key, or else the server.
func (s *Service) setting(ctx context.Context, proj, key string) (value string, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := project.Collection.Get(tx, proj)
		value = r.Config[key]
		return err
	})
	if err != nil || value != "" || s.d.Setting == nil {
		return value, err
	}
	return s.d.Setting(ctx, key)
}

// number is a setting that is one; 0 if it is not set.
func (s *Service) number(ctx context.Context, proj, key string) (int64, error) {
	text, err := s.setting(ctx, proj, key)
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return n, nil
}

// interval is how often the images of a project are compared with their sources; 0 is never.
func (s *Service) interval(ctx context.Context, proj string) (time.Duration, error) {
	hours, err := s.number(ctx, proj, AutoUpdateInterval)
	return time.Duration(min(max(hours, 0), 1<<20)) * time.Hour, err
}

// updatesCached tells whether images that are cached for a project are kept up to date.
func (s *Service) updatesCached(ctx context.Context, proj string) (bool, error) {
	text, err := s.setting(ctx, proj, AutoUpdateCached)
	return schema.IsTrue(text), err
}
