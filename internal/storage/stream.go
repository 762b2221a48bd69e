package storage

import (
	"context"
	"errors"
	"io"

	"lxd/internal/errs"
)

// Place is a volume in a pool.
type Place struct {
	Pool   string
	Volume Volume
}

// Stream makes a volume in another pool of one that is there, with those of its snapshots that are named, in the format of the two pools'
// driver. It fails with Unsupported, and has done nothing, where they have none in common.
func (s *Service) Stream(ctx context.Context, from Place, snapshots []string, to Place) error {
	source, err := s.streamer(ctx, from.Pool)
	if err != nil {
		return err
	}
	target, err := s.streamer(ctx, to.Pool)
	if err != nil {
		return err
	}
	if source.driver != target.driver {
		return errs.Newf(errs.Unsupported, "storage pools %q and %q have no format in common", from.Pool, to.Pool)
	}
	return s.make(ctx, to.Pool, to.Volume, func(Pool) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r, w := io.Pipe()
		sent := make(chan error, 1)
		go func() {
			err := source.Send(ctx, from.Volume, snapshots, w)
			w.CloseWithError(err)
			sent <- err
		}()
		received := target.Receive(ctx, to.Volume, r)
		cancel() // a sender that nobody listens to
		r.CloseWithError(errStopped)
		err := <-sent
		if received == nil {
			return nil
		}
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errStopped) {
			return err // the cause of the other
		}
		return received
	})
}

var errStopped = errors.New("the stream is not read any more")

// streaming is a pool that can stream, and its driver.
type streaming struct {
	Streamer
	driver string
}

func (s *Service) streamer(ctx context.Context, pool string) (streaming, error) {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return streaming{}, err
	}
	t, ok := p.(Streamer)
	if !ok {
		return streaming{}, errs.Newf(errs.Unsupported, "storage pool %q has no format of its own", pool)
	}
	if name := s.driverOf(pool); name != "" {
		return streaming{t, name}, nil
	}
	return streaming{}, errs.Newf(errs.Unavailable, "storage pool %q is being deleted", pool)
}
