package file

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
)

func createCommand(a *command.App) *cobra.Command {
	var o owner
	var dirs, force bool
	var kind string
	cmd := a.Leaf(command.Leaf{Use: "create [<remote>:]<instance>/<path> [<symlink target path>]", Short: "Create files and directories in instances", Least: 1, Most: 2,
		Example: "lxc file create c1/root/empty\n    Create an empty file\n\nlxc file create --type=symlink c1/root/link /etc/motd\n    Create a symbolic link",
		Run: func(args []string) error {
			p, err := parsePlace(a, args[0])
			if err != nil {
				return err
			}
			mode, err := o.bits()
			if err != nil {
				return err
			}
			put := client.FilePut{Kind: kind, UID: int64(o.uid), GID: int64(o.gid), Mode: mode}
			if p.folder && kind == client.PlainFile {
				put.Kind = client.Directory
			}
			if err := target(&put, args[1:]); err != nil {
				return err
			}
			ctx := a.Ctx
			if dirs {
				if err := parents(ctx, p, put.UID, put.GID); err != nil {
					return err
				}
			}
			if force {
				if err := makeRoom(a, p, put.Kind); err != nil {
					return err
				}
			}
			return p.put(ctx, put)
		}})
	f := cmd.Flags()
	f.BoolVarP(&dirs, "create-dirs", "p", false, "Create any directories necessary")
	f.BoolVarP(&force, "force", "f", false, "Force creating files or directories")
	f.StringVar(&kind, "type", client.PlainFile, "The type to create (file, symlink, or directory)``")
	o.flags(cmd)
	return cmd
}

// target takes the target of a link from the arguments, which others do not have.
func target(put *client.FilePut, args []string) error {
	switch {
	case put.Kind != client.PlainFile && put.Kind != client.Directory && put.Kind != client.SymlinkFile:
		return fmt.Errorf("Invalid type %q: it must be file, symlink or directory", put.Kind)
	case put.Kind == client.SymlinkFile && len(args) == 0:
		return fmt.Errorf("Missing symlink target path")
	case put.Kind != client.SymlinkFile && len(args) > 0:
		return fmt.Errorf("Only symlinks have a target path: add --type=symlink")
	case len(args) > 0:
		put.Content = strings.NewReader(args[0])
	case put.Kind == client.PlainFile:
		put.Content = strings.NewReader("")
	}
	return nil
}

// makeRoom deletes what is in the way of something of another kind.
func makeRoom(a *command.App, p place, kind string) error {
	there, err := p.server.GetFile(a.Ctx, p.instance, p.path)
	if client.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if there.Content != nil {
		_ = there.Content.Close() // it was not wanted
	}
	if there.Kind == kind && kind != client.SymlinkFile {
		return nil
	}
	return p.server.DeleteFile(a.Ctx, p.instance, p.path)
}
