// Package console is "lxc console": the text console of an instance on this terminal.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/term"
)

// Streams are the user's terminal.
type Streams struct {
	// In and Out are the standard streams.
	In  io.Reader
	Out io.Writer
	// Control tells of changes of the terminal's size.
	Control <-chan api.InstanceExecControl
}

// Attach shows the console of an instance until it ends or the user detaches.
func Attach(ctx context.Context, server *client.Client, name, kind string, s Streams) error {
	if kind == "vga" {
		return errors.New("Graphical consoles are those of virtual machines, which this client cannot show yet: use --type=console")
	}
	if kind != "" && kind != "console" {
		return fmt.Errorf("Unknown console type %q", kind)
	}
	width, height := term.Size(s.Out)
	restore := func() {}
	if in, ok := s.In.(*os.File); ok && term.Is(in) {
		var err error
		if restore, err = term.Raw(in); err != nil {
			return err
		}
	}
	fmt.Fprint(s.Out, "To detach from the console, press: <ctrl>+a q\n\r")
	err := server.Console(ctx, name, api.InstanceConsolePost{Width: int64(width), Height: int64(height), Type: "console"},
		client.ExecStreams{Stdin: &keys{from: s.In}, Stdout: s.Out, Control: s.Control})
	restore()
	return err
}

// ShowLog prints what the console has shown.
func ShowLog(ctx context.Context, server *client.Client, name string, out io.Writer) error {
	log, err := server.ConsoleLog(ctx, name)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := fmt.Fprint(out, "\nConsole log:\n\n"); err != nil {
		return err
	}
	if _, err := io.Copy(out, log); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out)
	return err
}
