package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"lxd/api"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// SetStates returns the work that brings all instances of a project into a state; those that are in it stay as they are.
func (s *Service) SetStates(ctx context.Context, proj string, put api.InstanceStatePut) (op.Spec, error) {
	if _, err := s.changer(put); err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "instances-state", Description: api.OperationUpdatingTheStateOfMultipleInstances.String(), Project: proj,
		Resources: map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", proj)}},
		Run:       func(ctx context.Context, _ *op.Task) error { return s.setStates(ctx, proj, put) },
	}, nil
}

func (s *Service) setStates(ctx context.Context, proj string, put api.InstanceStatePut) error {
	var all []Record
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for _, r := range Collection.AllRev(tx, proj+"/") {
			if r.Location == s.d.Location && s.concerned(put.Action, r.key()) {
				all = append(all, r)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var failures []error
	parallel(all, func(r Record) {
		if err := s.setOne(ctx, r, put); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, fmt.Errorf("instance %q: %w", r.Name, err))
		}
	})
	return errors.Join(failures...)
}

// concerned tells whether an action would change an instance.
func (s *Service) concerned(action, key string) bool {
	code := s.status(key)
	switch action {
	case "start":
		return code != api.StatusRunning
	case "unfreeze":
		return code == api.StatusFrozen
	case "freeze":
		return code == api.StatusRunning
	}
	return code != api.StatusStopped
}

// setOne runs the work for one instance as an operation of its own, so that its lock and recovery are those of any other.
func (s *Service) setOne(ctx context.Context, r Record, put api.InstanceStatePut) error {
	work, err := s.changer(put)
	if err != nil {
		return err
	}
	o, err := s.d.Ops.Start(ctx, work(r))
	if err != nil {
		return err
	}
	return o.Wait(ctx)
}
