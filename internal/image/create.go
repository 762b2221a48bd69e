package image

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
)

// Create answers a request to make an image of something that the server is to fetch or to pack. There is none yet that it can: it
// says so, and what can be done instead.
func (s *Service) Create(_ context.Context, _ string, post api.ImagesPost) (op.Spec, error) {
	const instead = "this server takes images as uploads only: send the file as the body, or use: lxc image import"
	if post.Source == nil {
		return op.Spec{}, errs.Newf(errs.Invalid, "the request has no source: %s", instead)
	}
	switch kind := post.Source.Type; kind {
	case "container", "instance", "virtual-machine", "snapshot":
		return op.Spec{}, errs.Newf(errs.Unsupported, "making an image of an instance (source type %q) is not supported yet; %s", kind, instead)
	case "image", "url":
		return op.Spec{}, errs.Newf(errs.Unsupported, "fetching an image from another server (source type %q) is not supported yet; %s", kind, instead)
	default:
		return op.Spec{}, errs.Newf(errs.Internal, "unknown source type %q; %s", kind, instead)
	}
}

// Push answers a request to send an image to another server, which is not there yet either.
func (s *Service) Push(ctx context.Context, proj, prefix string) (op.Spec, error) {
	if _, _, err := s.Get(ctx, proj, prefix); err != nil {
		return op.Spec{}, err
	}
	return op.Spec{}, errs.Newf(errs.Unsupported, "sending an image to another server is not supported yet: export it, and import the file there")
}
