package file

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/editor"
	"lxd/internal/cli/term"
)

func editCommand(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "edit [<remote>:]<instance>/<path>", Short: "Edit files in instances", Least: 1, Most: 1,
		Long: "Edit files in instances\n\nIf standard input is not a terminal, it becomes the new content.",
		Run: func(args []string) error {
			p, err := parsePlace(a, args[0])
			if err != nil {
				return err
			}
			if p.folder {
				return fmt.Errorf("Can't edit a directory")
			}
			next := put(client.PlainFile, -1, -1, -1) // a file that exists keeps owner and mode
			if !term.Is(a.In) && !isNull(a.In) {
				next.Content = a.In
				return p.put(a.Ctx, next)
			}
			text, err := read(a, p)
			if err != nil {
				return err
			}
			edited, err := editor.Open(a.Ctx, editor.Streams{In: a.In, Out: a.Out, Err: a.Err}, text)
			if err != nil || bytes.Equal(edited, text) {
				return err
			}
			next.Content = bytes.NewReader(edited)
			return p.put(a.Ctx, next)
		}})
}

// isNull tells an input that nobody gave: the null device, or none at all.
func isNull(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return in == nil
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// read reads a plain file.
func read(a *command.App, p place) ([]byte, error) {
	f, err := p.server.GetFile(a.Ctx, p.instance, p.path)
	if err != nil {
		return nil, err
	}
	if f.Kind != client.PlainFile {
		if f.Content != nil {
			_ = f.Content.Close() // it was not wanted
		}
		return nil, fmt.Errorf("%s is a %s: only plain files can be edited", p.path, f.Kind)
	}
	defer f.Content.Close()
	return io.ReadAll(f.Content)
}
