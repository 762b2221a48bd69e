// Package file is the branch "lxc file".
package file

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
)

// Command is the branch "lxc file".
func Command(a *command.App) *cobra.Command {
	return command.Branch("file", "Manage files in instances", createCommand(a), deleteCommand(a), editCommand(a), mountCommand(a), pullCommand(a), pushCommand(a))
}

// place is a path in an instance.
type place struct {
	server         *client.Client
	instance, path string
	// folder says that the path was written with a slash at its end.
	folder bool
}

// parsePlace understands "[remote:]instance/path".
func parsePlace(a *command.App, arg string) (place, error) {
	name, p, ok := strings.Cut(arg, "/")
	if !ok {
		return place{}, fmt.Errorf("Invalid path %q: it must be [<remote>:]<instance>/<path>", arg)
	}
	server, name, err := a.Parse(name)
	if err == nil && name == "" {
		err = fmt.Errorf("Missing instance name in %q", arg)
	}
	return place{server, name, path.Clean("/" + p), p == "" || strings.HasSuffix(p, "/")}, err
}

// at is a path below or beside p.
func (p place) at(path string) place { p.path = path; return p }

func (p place) put(ctx context.Context, f client.FilePut) error {
	return p.server.PutFile(ctx, p.instance, p.path, f)
}

// owner is the flags --uid, --gid and --mode.
type owner struct {
	uid, gid int
	mode     string
}

func (o *owner) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.uid, "uid", -1, "Set the file's uid``")
	f.IntVar(&o.gid, "gid", -1, "Set the file's gid``")
	f.StringVar(&o.mode, "mode", "", "Set the file's permissions (octal)``")
}

// bits is the mode, -1 when none is given.
func (o *owner) bits() (int64, error) {
	if o.mode == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(o.mode, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("Invalid mode %q: it must be octal, such as 0644", o.mode)
	}
	return int64(n), nil
}

// parents makes the folders on the way to p that are missing.
func parents(ctx context.Context, p place, uid, gid int64) error {
	dir := path.Dir(p.path)
	if dir == "/" {
		return nil
	}
	made := ""
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		made += "/" + part
		if err := p.at(made).put(ctx, client.FilePut{Kind: client.Directory, UID: uid, GID: gid, Mode: 0o755}); err != nil {
			return fmt.Errorf("making %s: %w", made, err)
		}
	}
	return nil
}

func deleteCommand(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "delete [<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...]", Aliases: []string{"rm"},
		Short: "Delete files in instances", Least: 1, Most: -1,
		Run: func(args []string) error {
			for _, arg := range args {
				p, err := parsePlace(a, arg)
				if err != nil {
					return err
				}
				if err := p.server.DeleteFile(a.Ctx, p.instance, p.path); err != nil {
					return err
				}
			}
			return nil
		}})
}
