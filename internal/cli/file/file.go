// Package file is the branch "lxc file".
package file

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lxd/client"
)

// Leaf describes one command.
type Leaf struct {
	Use, Short, Long, Example string
	Aliases                   []string
	// Least and Most bound the number of arguments; a Most of -1 is no bound.
	Least, Most int
	Run         func(args []string) error
}

// Env is what the commands need of the program that they are a part of.
type Env struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
	// Command makes a command.
	Command func(Leaf) *cobra.Command
	// Parse splits "[remote:]name" and connects to the remote.
	Parse func(arg string) (*client.Client, string, error)
	// Context is the context of the run, Quiet whether progress is unwanted; both are known once a command runs.
	Context func() context.Context
	Quiet   func() bool
}

// Commands are the commands of the branch.
func Commands(e Env) []*cobra.Command {
	return []*cobra.Command{createCommand(&e), deleteCommand(&e), editCommand(&e), mountCommand(&e), pullCommand(&e), pushCommand(&e)}
}

// place is a path in an instance.
type place struct {
	server         *client.Client
	instance, path string
	// folder says that the path was written with a slash at its end.
	folder bool
}

// place understands "[remote:]instance/path".
func (e *Env) place(arg string) (place, error) {
	name, p, ok := strings.Cut(arg, "/")
	if !ok {
		return place{}, fmt.Errorf("Invalid path %q: it must be [<remote>:]<instance>/<path>", arg)
	}
	server, name, err := e.Parse(name)
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

func deleteCommand(e *Env) *cobra.Command {
	return e.Command(Leaf{Use: "delete [<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...]", Aliases: []string{"rm"},
		Short: "Delete files in instances", Least: 1, Most: -1,
		Run: func(args []string) error {
			for _, arg := range args {
				p, err := e.place(arg)
				if err != nil {
					return err
				}
				if err := p.server.DeleteFile(e.Context(), p.instance, p.path); err != nil {
					return err
				}
			}
			return nil
		}})
}
