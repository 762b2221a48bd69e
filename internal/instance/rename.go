package instance

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
)

// Rename returns the work that gives a stopped instance a new name.
func (s *Service) Rename(ctx context.Context, proj, name string, post api.InstancePost) (op.Spec, error) {
	if _, err := s.view(ctx, proj, name); err != nil {
		return op.Spec{}, err
	}
	if post.Migration || post.Pool != "" || post.Project != "" {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving instances between pools, projects and servers is not supported yet by this server")
	}
	if err := CheckName(post.Name); err != nil {
		return op.Spec{}, err
	}
	return op.Spec{}, errs.Newf(errs.Unsupported, "renaming instances is not supported yet by this server: create the instance under the new name")
}
