// Package admin is the commands of lxd itself: the daemon, and what an administrator tells it on its own host.
package admin

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lxd/internal/manual"
)

// Daemon is how the daemon is run; the command line fills it in.
type Daemon struct {
	// Group may use the socket.
	Group string
	// LogFile takes the log instead of standard error.
	LogFile string
	// Syslog sends the log to the system's log too.
	Syslog bool
	// Trace names parts of the daemon whose debug messages are logged.
	Trace   []string
	Debug   bool
	Verbose bool
}

// Server is what the commands need of a running daemon.
type Server interface {
	// Get reads path into out (the metadata of the answer) and returns its ETag. A 404 is errs.NotFound.
	Get(ctx context.Context, path string, out any) (etag string, err error)
	// Do sends in to path and waits for the operation, if the answer is one.
	Do(ctx context.Context, method, path string, in any, etag string) error
	// Ask posts in to path and reads the metadata of the answer into out.
	Ask(ctx context.Context, path string, in, out any) error
}

// Program is what the commands work with.
type Program struct {
	// Version is what "lxd version" prints.
	Version string
	// Run runs the daemon until ctx ends or it is told to stop.
	Run func(ctx context.Context, d Daemon) error
	// Connect finds the daemon of this host.
	Connect func() (Server, error)
	// Needed says why the daemon of this host should run although it does not; "" if it need not, or runs.
	Needed func(ctx context.Context) (string, error)
	// Manifest describes the routes and configuration keys, for checks against the published tables.
	Manifest func() ([]byte, error)
}

// Root is the command tree of lxd.
func (p *Program) Root() *cobra.Command {
	var d Daemon
	root := &cobra.Command{
		Use:   "lxd",
		Short: "The container and virtual machine manager daemon",
		Long: "Runs the daemon in the foreground. Its state is in LXD_DIR (default /var/lib/lxd), its socket in LXD_SOCKET\n" +
			"(default LXD_DIR/unix.socket). SIGTERM ends the daemon and leaves instances running; \"lxd shutdown\" ends both.",
		Args:          cobra.NoArgs,
		Version:       p.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return p.Run(c.Context(), d) },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().Bool("version", false, "Print version number")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.Flags().StringVar(&d.Group, "group", "", "The group of users that may use the socket")
	global := root.PersistentFlags()
	global.StringVar(&d.LogFile, "logfile", "", "Path of the log file")
	global.BoolVar(&d.Syslog, "syslog", false, "Log to syslog too")
	global.StringArrayVar(&d.Trace, "trace", nil, "Show the debug messages of one part of the daemon, such as rest; may be repeated")
	global.BoolVarP(&d.Debug, "debug", "d", false, "Show all debug messages")
	global.BoolVarP(&d.Verbose, "verbose", "v", false, "Show all information messages")
	root.AddCommand(p.initCommand(), p.shutdownCommand(), p.waitReadyCommand(), p.versionCommand(), p.manifestCommand(), p.manpageCommand(),
		p.activateCommand(), p.recoverCommand(), clusterCommand(), importCommand(), sqlCommand())
	return root
}

func (p *Program) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), p.Version)
			return err
		}}
}

func (p *Program) manifestCommand() *cobra.Command {
	return &cobra.Command{Use: "manifest", Short: "Print routes and configuration keys as JSON", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := p.Manifest()
			if err == nil {
				_, err = c.OutOrStdout().Write(b)
			}
			return err
		}}
}

func (p *Program) manpageCommand() *cobra.Command {
	return &cobra.Command{Use: "manpage <target>", Short: "Generate manpages for all commands", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return manual.Save(args[0], "man", manual.Pages(p.Root()))
		}}
}

func (p *Program) waitReadyCommand() *cobra.Command {
	var timeout uint64
	var network, storage bool
	c := &cobra.Command{Use: "waitready", Short: "Wait until the daemon serves requests", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
				defer cancel()
			}
			return p.waitReady(ctx, fmt.Sprintf("/internal/ready?network=%t&storage=%t", network, storage))
		}}
	c.Flags().Uint64VarP(&timeout, "timeout", "t", 0, "Seconds to wait before giving up; 0 waits for ever")
	c.Flags().BoolVar(&network, "network", false, "Also wait until the networks are up")
	c.Flags().BoolVar(&storage, "storage", false, "Also wait until the storage pools are open")
	return c
}

// waitReady asks again and again, since the socket may not be there yet.
func (p *Program) waitReady(ctx context.Context, path string) error {
	for {
		s, err := p.Connect()
		if err == nil {
			_, err = s.Get(ctx, path, nil)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the daemon is not ready yet: %w; see its log, or wait longer with --timeout", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Program) shutdownCommand() *cobra.Command {
	var timeout int
	var force bool
	c := &cobra.Command{Use: "shutdown", Short: "Stop all instances and the daemon", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := p.Connect()
			if err != nil {
				return err
			}
			ctx := c.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
				defer cancel()
			}
			return s.Do(ctx, "PUT", fmt.Sprintf("/internal/shutdown?force=%t", force), nil, "")
		}}
	c.Flags().IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait before giving up; 0 waits for ever")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not wait for running operations to end")
	return c
}

func writeAll(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}
