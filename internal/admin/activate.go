package admin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *Program) activateCommand() *cobra.Command {
	return &cobra.Command{Use: "activateifneeded", Short: "Start the daemon if there is something that it has to do", Args: cobra.NoArgs,
		Long: "Start the daemon if there is something that it has to do\n\n" +
			"It is meant for systems that start the daemon when somebody connects to its socket: without the network, and without instances or\n" +
			"volumes to look after, the daemon can wait for that.",
		RunE: func(c *cobra.Command, _ []string) error { return p.activate(c.Context()) }}
}

// activate connects to the socket if the daemon does not run and is needed; whoever holds the socket starts it.
func (p *Program) activate(ctx context.Context) error {
	why, err := p.Needed(ctx)
	if err != nil || why == "" {
		return err
	}
	s, err := p.Connect()
	if err == nil {
		_, err = s.Get(ctx, "/1.0", nil)
	}
	if err != nil {
		return fmt.Errorf("the daemon is needed, since %s, but cannot be started through its socket: %w; start it as a service", why, err)
	}
	return nil
}
