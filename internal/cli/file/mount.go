package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lxd/internal/cli/command"
	"lxd/internal/cli/sshfs"
)

// mount is one run of "lxc file mount".
type mount struct {
	listen, user string
	open         bool
	app          *command.App
}

func mountCommand(a *command.App) *cobra.Command {
	m := &mount{app: a}
	cmd := a.Leaf(command.Leaf{Use: "mount [<remote>:]<instance>[/<path>] [<target path>]", Short: "Mount files from instances", Least: 1, Most: 2,
		Long:    "Mount files from instances\n\nWith a target path the files are mounted there by sshfs. Without one, an SSH server is started that any SFTP client can use.",
		Example: "lxc file mount c1/root mnt\n    Mount /root of c1 at mnt\n\nlxc file mount c1\n    Listen for SFTP clients on this computer",
		Run:     m.run})
	f := cmd.Flags()
	f.StringVar(&m.listen, "listen", "", "Setup SSH SFTP listener on address:port instead of mounting``")
	f.BoolVar(&m.open, "no-auth", false, "Disable authentication when using SSH SFTP listener")
	f.StringVar(&m.user, "auth-user", "", "Set authentication user when using SSH SFTP listener``")
	return cmd
}

func (m *mount) run(args []string) error {
	arg := args[0]
	if !strings.Contains(arg, "/") {
		arg += "/"
	}
	from, err := parsePlace(m.app, arg)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(m.app.Ctx, os.Interrupt, unix.SIGTERM)
	defer cancel()
	if len(args) < 2 {
		return m.serve(ctx, from)
	}
	if m.listen != "" || m.open || m.user != "" {
		return errors.New("Target path and --listen, --no-auth or --auth-user cannot be used together")
	}
	return m.mount(ctx, from, args[1])
}

func (m *mount) mount(ctx context.Context, from place, target string) error {
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		return fmt.Errorf("Target path %s must be a directory", target)
	}
	if !sshfs.Installed() {
		return fmt.Errorf("%s is not installed: install it, or leave the target path out to start an SSH SFTP listener instead", sshfs.Program)
	}
	conn, err := from.server.SFTP(ctx, from.instance)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(m.app.Out, "%s mounting \"%s%s\" on %q\nPress ctrl+c to finish\n", sshfs.Program, from.instance, from.path, target)
	return sshfs.Mount(ctx, conn, from.path, target)
}
