package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/term"
)

// push is one run of "lxc file push".
type push struct {
	owner
	dirs, deep bool
	app        *command.App
	mode       int64
}

func pushCommand(a *command.App) *cobra.Command {
	p := &push{app: a}
	cmd := a.Leaf(command.Leaf{Use: "push <source path>... [<remote>:]<instance>/<path>", Short: "Push files into instances", Least: 2, Most: -1,
		Long: "Push files into instances\n\nOwner and permissions are those of the source unless they are given. A source of - is standard input.",
		Example: "lxc file push /etc/hosts c1/etc/hosts\n    Push a file\n\n" +
			"echo hello | lxc file push - c1/root/hello\n    Push standard input",
		Run: p.run})
	f := cmd.Flags()
	f.BoolVarP(&p.dirs, "create-dirs", "p", false, "Create any directories necessary")
	f.BoolVarP(&p.deep, "recursive", "r", false, "Recursively transfer files")
	p.flags(cmd)
	return cmd
}

func (p *push) run(args []string) (err error) {
	sources, last := args[:len(args)-1], args[len(args)-1]
	to, err := parsePlace(p.app, last)
	if err != nil {
		return err
	}
	if p.mode, err = p.bits(); err != nil {
		return err
	}
	if p.deep && (p.mode >= 0 || p.uid >= 0 || p.gid >= 0) {
		return errors.New("Can't supply uid/gid/mode in recursive mode")
	}
	into := to.folder || len(sources) > 1
	for _, source := range sources {
		if err := p.one(source, to, into); err != nil {
			return err
		}
	}
	return nil
}

// one pushes one source; into says that to is the folder to put it in.
func (p *push) one(source string, to place, into bool) error {
	ctx := p.app.Ctx
	if source == "-" {
		if into {
			return errors.New("Standard input has no name: give the whole path of the file")
		}
		return p.send(ctx, to, put(client.PlainFile, 0, 0, 0o644), p.app.In, -1)
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if !p.deep {
			return fmt.Errorf("%s is a directory: add --recursive to push it", source)
		}
		return p.tree(ctx, source, to)
	}
	if into || p.deep {
		to = to.at(path.Join(to.path, filepath.Base(source)))
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.send(ctx, to, like(info, client.PlainFile), f, info.Size())
}

func put(kind string, uid, gid, mode int64) client.FilePut {
	return client.FilePut{Kind: kind, UID: uid, GID: gid, Mode: mode}
}

// like is owner and permissions of a file here.
func like(info fs.FileInfo, kind string) client.FilePut {
	f := put(kind, 0, 0, int64(info.Mode().Perm()))
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID, f.Mode = int64(st.Uid), int64(st.Gid), int64(st.Mode&0o7777)
	}
	return f
}

// send sends one plain file, with what the flags say of it.
func (p *push) send(ctx context.Context, to place, f client.FilePut, r io.Reader, size int64) error {
	if p.uid >= 0 {
		f.UID = int64(p.uid)
	}
	if p.gid >= 0 {
		f.GID = int64(p.gid)
	}
	if p.mode >= 0 {
		f.Mode = p.mode
	}
	if p.dirs {
		if err := parents(ctx, to, f.UID, f.GID); err != nil {
			return err
		}
	}
	shown := newProgress(p.app, "Pushing "+to.path, size)
	defer shown.Clear()
	f.Content = shown.of(r)
	return to.put(ctx, f)
}

// tree pushes a folder and all that is in it. Links stay links; what is neither file, folder nor link is an error.
func (p *push) tree(ctx context.Context, source string, to place) error {
	source = filepath.Clean(source)
	top, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	if p.dirs {
		if err := parents(ctx, to.at(to.path+"/x"), 0, 0); err != nil {
			return err
		}
	}
	return filepath.WalkDir(source, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, at)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && at == source {
			info, err = os.Stat(source) // it may have been named through a link
		}
		if err != nil {
			return err
		}
		return p.entry(ctx, at, to.at(path.Join(to.path, filepath.Base(top), filepath.ToSlash(rel))), info)
	})
}

func (p *push) entry(ctx context.Context, at string, to place, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return to.put(ctx, like(info, client.Directory))
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(at)
		if err != nil {
			return err
		}
		f := like(info, client.SymlinkFile)
		f.Mode, f.Content = -1, strings.NewReader(target)
		return to.put(ctx, f)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file, a directory nor a symlink: it cannot be pushed", at)
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	shown := newProgress(p.app, "Pushing "+to.path, info.Size())
	defer shown.Clear()
	like := like(info, client.PlainFile)
	like.Content = shown.of(f)
	return to.put(ctx, like)
}

// progress shows how much of a file has been carried.
type progress struct {
	term.Progress
	label      string
	size, done int64
	percent    int64
}

// newProgress is silent without a terminal.
func newProgress(a *command.App, label string, size int64) *progress {
	p := &progress{label: label, size: size}
	if !a.Flags.Quiet && term.Is(a.Out) {
		p.Out = a.Out
	}
	return p
}

// of is r, watched.
func (p *progress) of(r io.Reader) io.Reader {
	if p.Out == nil {
		return r
	}
	return io.TeeReader(r, p)
}

// Write counts what passes.
func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if p.size > 0 && p.done*100/p.size != p.percent {
		p.percent = p.done * 100 / p.size
		p.Show(fmt.Sprintf("%s: %d%%", p.label, p.percent))
	}
	return len(b), nil
}
