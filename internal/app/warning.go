package app

import "context"

// tendWarnings looks for what is to be warned of, and removes old warnings, for as long as the daemon runs.
func (a *App) tendWarnings(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.onClose("warnings", func(context.Context) error { cancel(); return nil })
	go a.domain.warnings.Tend(ctx, a.ops)
	go a.domain.networks.Tend(ctx)
	go a.domain.acls.Follow(ctx, a.domain.networks.Logged)
	return nil
}
