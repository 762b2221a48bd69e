package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/term"
)

func imageImport(a *command.App) *cobra.Command {
	var aliases []string
	var public bool
	cmd := a.Leaf(command.Leaf{Use: "import <tarball>|<directory>|<URL> [<rootfs tarball>] [<remote>:] [key=value...]", Short: "Import image into the image store",
		Least: 1, Most: -1,
		Long: "Import image into the image store\n\nAn image is one tarball, a tarball of metadata and a file with the root, or a directory that\nholds metadata.yaml, rootfs and perhaps templates; the latter must be read as root.",
		Run:  func(args []string) error { return importImage(a, args, aliases, public) }})
	cmd.ValidArgsFunction = nil // files, which shells complete by themselves
	cmd.Flags().StringArrayVar(&aliases, "alias", nil, "New aliases to add to the image``")
	cmd.Flags().BoolVar(&public, "public", false, "Make image public")
	return cmd
}

// importArgs are the arguments of image import, told apart.
type importArgs struct {
	meta, rootfs, remote string
	properties           map[string]string
}

func parseImport(args []string) (importArgs, error) {
	in := importArgs{meta: args[0], properties: map[string]string{}}
	for _, arg := range args[1:] {
		key, value, isPair := strings.Cut(arg, "=")
		switch {
		case isPair:
			in.properties[key] = value
		case strings.HasSuffix(arg, ":"):
			in.remote = arg
		case in.rootfs == "":
			in.rootfs = arg
		default:
			return in, fmt.Errorf("argument %q is neither a remote nor a property", arg)
		}
	}
	return in, nil
}

func importImage(a *command.App, args []string, aliases []string, public bool) error {
	in, err := parseImport(args)
	if err != nil {
		return err
	}
	if strings.HasPrefix(in.meta, "http://") {
		return errors.New("Only https:// is supported for remote image import")
	}
	server, _, err := a.Parse(in.remote)
	if err != nil {
		return err
	}
	if strings.HasPrefix(in.meta, "https://") {
		var body api.ImagesPost
		body.Source = &api.ImagesPostSource{Type: "url", Mode: "pull", URL: in.meta}
		body.Public, body.Properties = public, in.properties
		return imported(a, server, aliases, func() (*client.Operation, error) {
			return server.Send(a.Ctx, http.MethodPost, "/1.0/images", body, "")
		})
	}
	up := client.ImageUpload{Public: public, Properties: in.properties}
	closeFiles, err := openImage(in, &up)
	defer closeFiles()
	if err != nil {
		return err
	}
	if !a.Flags.Quiet && term.Is(a.Out) {
		line := &term.Progress{Out: a.Out}
		defer line.Clear()
		up.Meta = line.Through(up.Meta, "Transferring image")
		if up.Rootfs != nil {
			up.Rootfs = line.Through(up.Rootfs, "Transferring image")
		}
	}
	return imported(a, server, aliases, func() (*client.Operation, error) { return server.UploadImage(a.Ctx, up) })
}

// imported waits for an import, tells which image it made, and names that.
func imported(a *command.App, server *client.Client, aliases []string, start func() (*client.Operation, error)) error {
	op, err := a.Follow(server, "", start)
	if err != nil {
		return err
	}
	fingerprint, _ := op.Metadata["fingerprint"].(string)
	if fingerprint == "" {
		return command.Unexpected("the fingerprint of the image")
	}
	a.Say("Image imported with fingerprint: %s", fingerprint)
	for _, alias := range aliases {
		if err := setAlias(a, server, alias, fingerprint); err != nil {
			return err
		}
	}
	return nil
}

// setAlias makes alias point at the image, also when it pointed at another one before.
func setAlias(a *command.App, server *client.Client, alias, fingerprint string) error {
	err := server.Apply(a.Ctx, http.MethodDelete, client.Path("images", "aliases", alias), nil, "")
	if err != nil && !client.IsNotFound(err) {
		return err
	}
	return addAlias(a, server, alias, fingerprint)
}

// openImage opens the files of the image. What it returns closes them, also after an error.
func openImage(in importArgs, up *client.ImageUpload) (closeFiles func(), err error) {
	var open []io.Closer
	closeFiles = func() {
		for _, c := range open {
			_ = c.Close() // they were only read
		}
	}
	info, err := os.Stat(in.meta)
	if err != nil {
		return closeFiles, err
	}
	if info.IsDir() {
		if os.Geteuid() != 0 {
			return closeFiles, errors.New("Must run as root to import from directory")
		}
		r := packDirectory(in.meta)
		open = append(open, r)
		up.Meta, up.MetaName = r, filepath.Base(in.meta)+".tar.gz"
		return closeFiles, nil
	}
	meta, err := os.Open(in.meta)
	if err != nil {
		return closeFiles, err
	}
	open = append(open, meta)
	up.Meta, up.MetaName = meta, filepath.Base(in.meta)
	if in.rootfs == "" {
		return closeFiles, nil
	}
	rootfs, err := os.Open(in.rootfs)
	if err != nil {
		return closeFiles, err
	}
	open = append(open, rootfs)
	buffered := bufio.NewReader(rootfs)
	magic, _ := buffered.Peek(3) // a shorter file is no disk; the server will say what it is
	up.VM = bytes.Equal(magic, []byte("QFI"))
	up.Rootfs, up.RootfsName = buffered, filepath.Base(in.rootfs)
	return closeFiles, nil
}

// packDirectory is the tarball of the directory of an image, made while it is read.
func packDirectory(dir string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a valid one
		out := tar.NewWriter(zip)
		err := addTree(out, dir)
		err = errors.Join(err, out.Close(), zip.Close())
		w.CloseWithError(err)
	}()
	return r
}

func addTree(out *tar.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		top, _, _ := strings.Cut(name, "/")
		if top != "metadata.yaml" && top != "rootfs" && top != "templates" {
			return nil
		}
		return addFile(out, root, name, entry)
	})
}

func addFile(out *tar.Writer, root *os.Root, name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode()&fs.ModeSocket != 0:
		return nil // sockets mean nothing to another process
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = root.Readlink(name); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name, header.Uname, header.Gname = name, "", ""
	if info.IsDir() {
		header.Name += "/"
	}
	if err := out.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

func imageExport(a *command.App) *cobra.Command {
	var vm bool
	cmd := a.Leaf(command.Leaf{Use: "export [<remote>:]<image> [<target>]", Short: "Export and download images", Least: 1, Most: 2,
		Long: "Export and download images\n\nThe target is a directory, or the beginning of the names of the files to write.",
		Run: func(args []string) error {
			store, image, err := read(a, args[0], vm)
			if err != nil {
				return err
			}
			target := "."
			if len(args) > 1 {
				target = args[1]
			}
			if err := exportImage(a, store, image, target); err != nil {
				return err
			}
			a.Say("Image exported successfully!")
			return nil
		}})
	cmd.Flags().BoolVar(&vm, "vm", false, "Query virtual machine images")
	return cmd
}

func exportImage(a *command.App, store *Store, image *api.Image, target string) error {
	line := &term.Progress{}
	if !a.Flags.Quiet && term.Is(a.Out) {
		line.Out = a.Out
	}
	defer line.Clear()
	return store.Export(a.Ctx, image, func(f client.ImageFile) error {
		return saveFile(exportPath(target, f.Name), line.Through(f.Body, "Exporting the image"))
	})
}

// exportPath is where the file that the server calls name goes. Only the last part of its name counts: it is foreign.
func exportPath(target, name string) string {
	name = filepath.Base(filepath.Clean("/" + name))
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		return filepath.Join(target, name)
	}
	prefix := ""
	if strings.HasPrefix(name, "meta-") {
		prefix = "meta-"
	}
	_, ext, _ := strings.Cut(name, ".")
	return filepath.Join(filepath.Dir(target), prefix+filepath.Base(target)+"."+ext)
}

// saveFile writes r to path; a file that is not complete does not stay.
func saveFile(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // the error told is the one that matters
	}
	return err
}
