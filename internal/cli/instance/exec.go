package instance

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/console"
	"lxd/internal/cli/term"
)

// execFlags are the flags of exec.
type execFlags struct {
	cwd, mode                string
	env                      []string
	noStdin, forceTTY, noTTY bool
	user, group              uint32
}

// Exec runs a command in an instance.
func Exec(a *command.App) *cobra.Command {
	var f execFlags
	cmd := a.Leaf(command.Leaf{Use: "exec [<remote>:]<instance> [flags] [--] <command line>", Short: "Execute commands in instances", Least: 2, Most: -1,
		Long: `Execute commands in instances

The command is run as it is, without a shell: wildcards, pipes and variables mean nothing unless a shell is asked for:

  lxc exec <instance> -- sh -c "cd /tmp && pwd"

It gets a terminal if standard input and standard output both are terminals.`,
		Example: "lxc exec c1 bash\n    Run a shell in c1\n\nlxc exec c1 -- ls -lh /\n    Run a command with flags of its own",
		Run:     func(args []string) error { return execute(a, args, &f) }})
	s := cmd.Flags()
	s.StringVar(&f.cwd, "cwd", "", "Directory to run the command in (default /root)``")
	s.BoolVarP(&f.noStdin, "disable-stdin", "n", false, "Disable stdin (reads from /dev/null)")
	s.StringArrayVar(&f.env, "env", nil, "Environment variable to set (e.g. HOME=/home/foo)``")
	s.BoolVarP(&f.forceTTY, "force-interactive", "t", false, "Force pseudo-terminal allocation")
	s.BoolVarP(&f.noTTY, "force-noninteractive", "T", false, "Disable pseudo-terminal allocation")
	s.Uint32Var(&f.group, "group", 0, "Group ID to run the command as (default 0)``")
	s.StringVar(&f.mode, "mode", "auto", "Override the terminal mode (auto, interactive or non-interactive)``")
	s.Uint32Var(&f.user, "user", 0, "User ID to run the command as (default 0)``")
	return cmd
}

// interactive decides whether the command gets a terminal.
func (f *execFlags) interactive(a *command.App) (bool, error) {
	switch {
	case f.forceTTY && f.noTTY:
		return false, errors.New("You can't pass -t and -T at the same time")
	case (f.forceTTY || f.noTTY) && f.mode != "auto":
		return false, errors.New("You can't pass -t or -T at the same time as --mode")
	case f.forceTTY, f.mode == "interactive":
		return true, nil
	case f.noTTY, f.mode == "non-interactive":
		return false, nil
	case f.mode != "auto":
		return false, errors.New("--mode must be auto, interactive or non-interactive")
	}
	return !f.noStdin && a.Interactive(), nil
}

func (f *execFlags) environment() map[string]string {
	env := map[string]string{}
	if t := os.Getenv("TERM"); t != "" {
		env["TERM"] = t
	}
	for _, pair := range f.env {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	return env
}

func execute(a *command.App, args []string, f *execFlags) error {
	interactive, err := f.interactive(a)
	if err != nil {
		return err
	}
	server, name, err := a.Parse(args[0])
	if err != nil {
		return err
	}
	width, height := term.Size(a.Out)
	body := api.InstanceExecPost{Command: args[1:], Interactive: interactive, Environment: f.environment(),
		Width: int64(width), Height: int64(height), User: int64(f.user), Group: int64(f.group), Cwd: f.cwd}
	ctx, cancel := context.WithCancel(a.Ctx)
	defer cancel()
	streams := client.ExecStreams{Stdin: a.In, Stdout: a.Out, Stderr: a.Err, Control: controls(ctx, forwarded(interactive), a.Out)}
	if f.noStdin {
		streams.Stdin = nil
	}
	restore := func() {}
	if in, ok := a.In.(*os.File); ok && interactive && term.Is(in) {
		if restore, err = term.Raw(in); err != nil {
			return err
		}
	}
	code, err := server.Exec(ctx, name, body, streams)
	restore()
	return execResult(code, err)
}

// Console attaches to the console of an instance.
func Console(a *command.App) *cobra.Command {
	var kind string
	var log bool
	cmd := a.Leaf(command.Leaf{Use: "console [<remote>:]<instance>", Short: "Attach to instance consoles", Least: 1, Most: 1,
		Long: `Attach to instance consoles

The console is that of the first program in the instance. With --show-log what it has shown so far is printed instead.`,
		Run: func(args []string) error {
			if !log {
				return attachConsole(a, args[0], kind)
			}
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			return console.ShowLog(a.Ctx, server, name, a.Out)
		}})
	cmd.Flags().BoolVar(&log, "show-log", false, "Retrieve the instance's console log")
	cmd.Flags().StringVarP(&kind, "type", "t", "console", "Type of connection to establish: 'console' for serial console, 'vga' for SPICE graphical output``")
	return cmd
}

// attachConsole connects this terminal to the console of the instance that arg names.
func attachConsole(a *command.App, arg, kind string) error {
	server, name, err := a.Parse(arg)
	if err != nil {
		return err
	}
	return attachTo(a, server, name, kind)
}

func attachTo(a *command.App, server *client.Client, name, kind string) error {
	// A console takes no signals: those that lxc gets end it, and the terminal is as it was.
	ctx, cancel := signal.NotifyContext(a.Ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer cancel()
	return console.Attach(ctx, server, name, kind, console.Streams{In: a.In, Out: a.Out, Control: controls(ctx, []os.Signal{unix.SIGWINCH}, a.Out)})
}

// execResult turns the end of a command into the end of lxc. Commands that could not be run keep the code that shells use.
func execResult(code int, err error) error {
	switch {
	case err != nil && (code == 126 || code == 127):
		return command.Exit(err, code)
	case err != nil:
		return err
	case code != 0:
		return command.ExitCode(code)
	}
	return nil
}

// forwarded are the signals that a command gets when lxc gets them.
func forwarded(interactive bool) []os.Signal {
	signals := []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT, unix.SIGALRM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT}
	if interactive {
		signals = append(signals, unix.SIGWINCH)
	}
	return signals
}

// controls translates signals that lxc gets, and changes of the terminal's size, for the command.
func controls(ctx context.Context, signals []os.Signal, out io.Writer) <-chan api.InstanceExecControl {
	caught := make(chan os.Signal, 10)
	signal.Notify(caught, signals...)
	messages := make(chan api.InstanceExecControl)
	go func() {
		defer signal.Stop(caught)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-caught:
				select {
				case messages <- control(s, out):
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return messages
}

func control(s os.Signal, out io.Writer) api.InstanceExecControl {
	if s == unix.SIGWINCH {
		width, height := term.Size(out)
		return api.InstanceExecControl{Command: "window-resize",
			Args: map[string]string{"width": strconv.Itoa(width), "height": strconv.Itoa(height)}}
	}
	number, _ := s.(unix.Signal)
	return api.InstanceExecControl{Command: "signal", Signal: int64(number)}
}
