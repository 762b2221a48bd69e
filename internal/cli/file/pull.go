package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/pkg/sftp"
	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
)

// pull is one run of "lxc file pull".
type pull struct {
	dirs, deep bool
	app        *command.App
}

func pullCommand(a *command.App) *cobra.Command {
	p := &pull{app: a}
	cmd := a.Leaf(command.Leaf{Use: "pull [<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...] <target path>", Short: "Pull files from instances", Least: 2, Most: -1,
		Long: "Pull files from instances\n\nA target of - is standard output.",
		Example: "lxc file pull c1/etc/hosts .\n    Pull a file into the current directory\n\n" +
			"lxc file pull c1/etc/hosts -\n    Print a file",
		Run: p.run})
	cmd.Flags().BoolVarP(&p.dirs, "create-dirs", "p", false, "Create any directories necessary")
	cmd.Flags().BoolVarP(&p.deep, "recursive", "r", false, "Recursively transfer files")
	return cmd
}

func (p *pull) run(args []string) error {
	sources, target := args[:len(args)-1], args[len(args)-1]
	into, err := p.prepare(target, len(sources) > 1)
	if err != nil {
		return err
	}
	for _, source := range sources {
		from, err := parsePlace(p.app, source)
		if err != nil {
			return err
		}
		if err := p.one(p.app.Ctx, from, target, into); err != nil {
			return err
		}
	}
	return nil
}

// prepare tells whether the target is a folder to put files in, and makes what is missing of it if that is wanted.
func (p *pull) prepare(target string, several bool) (into bool, err error) {
	if target == "-" {
		return false, nil
	}
	wanted := several || target[len(target)-1] == filepath.Separator
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir():
		return true, nil
	case err == nil && wanted:
		return false, fmt.Errorf("%s is not a directory", target)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return false, err
	case err != nil && p.dirs:
		if wanted || p.deep {
			return true, os.MkdirAll(target, 0o755)
		}
		return false, os.MkdirAll(filepath.Dir(target), 0o755)
	case err != nil && wanted:
		return false, fmt.Errorf("%s does not exist: make it, or add --create-dirs", target)
	}
	return false, nil
}

func (p *pull) one(ctx context.Context, from place, target string, into bool) error {
	f, err := from.server.GetFile(ctx, from.instance, from.path)
	if err != nil {
		return err
	}
	if f.Kind == client.Directory {
		if !p.deep {
			return fmt.Errorf("%s is a directory: add --recursive to pull it", from.path)
		}
		return p.tree(ctx, from, target)
	}
	defer f.Content.Close()
	if target == "-" {
		_, err := io.Copy(p.app.Out, f.Content)
		return err
	}
	if into {
		target = filepath.Join(target, path.Base(from.path))
	}
	if f.Kind == client.SymlinkFile {
		return link(f.Content, target)
	}
	shown := newProgress(p.app, "Pulling "+from.path, f.Size)
	defer shown.Clear()
	return save(target, shown.of(f.Content), os.FileMode(f.Mode)&os.ModePerm)
}

func link(r io.Reader, at string) error {
	target, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.Symlink(string(target), at)
}

// save writes a file; set-user-id bits of the instance mean nothing here and are left out.
func save(target string, r io.Reader, mode os.FileMode) error {
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Chmod(mode), out.Close())
}

// tree pulls a folder and all that is in it, into target. The instance may be hostile: nothing is written outside of the new folder.
func (p *pull) tree(ctx context.Context, from place, target string) error {
	if target == "-" {
		return errors.New("A directory cannot be printed: give a directory to pull it to")
	}
	conn, err := from.server.SFTP(ctx, from.instance)
	if err != nil {
		return err
	}
	c, err := sftp.NewClientPipe(conn, conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer c.Close()
	name := path.Base(from.path)
	if name == "/" {
		name = from.instance
	}
	dir := filepath.Join(target, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return (&treePull{pull: p, ctx: ctx, client: c, root: root, from: from.path}).folder(".")
}

// treePull is the pulling of one folder.
type treePull struct {
	*pull
	ctx    context.Context
	client *sftp.Client
	root   *os.Root
	from   string
}

func (t *treePull) folder(rel string) error {
	entries, err := t.client.ReadDirContext(t.ctx, path.Join(t.from, rel))
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(t.from, rel), err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(e.Name()) || !filepath.IsLocal(e.Name()) {
			return fmt.Errorf("%q in %s is no name that a file can have", e.Name(), rel)
		}
		if err := t.entry(path.Join(rel, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (t *treePull) entry(rel string, info os.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		if err := t.root.Mkdir(rel, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return errors.Join(t.folder(rel), t.root.Chmod(rel, mode.Perm()))
	case mode&os.ModeSymlink != 0:
		target, err := t.client.ReadLink(path.Join(t.from, rel))
		if err != nil {
			return err
		}
		if err := t.root.Remove(rel); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return t.root.Symlink(target, rel)
	case !mode.IsRegular():
		fmt.Fprintf(t.app.Err, "Skipping %s: it is neither a file, a directory nor a symlink\n", path.Join(t.from, rel))
		return nil
	}
	return t.file(rel, info)
}

func (t *treePull) file(rel string, info os.FileInfo) error {
	in, err := t.client.Open(path.Join(t.from, rel))
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(t.from, rel), err)
	}
	defer in.Close()
	out, err := t.root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	shown := newProgress(t.app, "Pulling "+path.Join(t.from, rel), info.Size())
	defer shown.Clear()
	_, err = io.Copy(out, shown.of(in))
	return errors.Join(err, out.Chmod(info.Mode().Perm()), out.Close())
}
