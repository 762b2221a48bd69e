package template

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/image"
	"lxd/internal/instance/file"
)

// Names in the folder of a volume.
const (
	metadataFile = "metadata.yaml"
	folderName   = "templates"
)

// maxMetadata bounds metadata.yaml.
const maxMetadata = 1 << 20

// Folder is the folder of an instance's volume, beside its root file system. Its files came with an image: nothing is opened through a link.
type Folder struct {
	// Path is where the volume is mounted.
	Path string
}

// Metadata reads metadata.yaml; it fails with NotFound if there is none.
func (f Folder) Metadata() (m api.ImageMetadata, err error) {
	b, err := f.read(metadataFile, maxMetadata)
	if errors.Is(err, os.ErrNotExist) {
		return m, errs.Newf(errs.NotFound, "the instance has no metadata: it was not made from an image")
	}
	if err != nil {
		return m, err
	}
	return image.ParseMetadata(bytes.NewReader(b))
}

// SetMetadata replaces metadata.yaml, as a whole.
func (f Folder) SetMetadata(m api.ImageMetadata) error {
	b, err := yaml.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := image.ParseMetadata(bytes.NewReader(b)); err != nil {
		return err
	}
	return f.write(metadataFile, bytes.NewReader(b))
}

// Templates lists the names of the templates, in order.
func (f Folder) Templates() ([]string, error) {
	names := []string{}
	root, err := fs.OpenRoot(f.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.OpenFile(folderName, os.O_RDONLY|fs.NoFollow, 0)
	if errors.Is(err, os.ErrNotExist) {
		return names, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, err := dir.ReadDir(-1)
	for _, e := range all {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// Template reads a template; it fails with NotFound if there is none of that name.
func (f Folder) Template(name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	b, err := f.read(folderName+"/"+name, maxText)
	if errors.Is(err, os.ErrNotExist) {
		return nil, noTemplate(name)
	}
	return b, err
}

// SetTemplate makes or replaces a template.
func (f Folder) SetTemplate(name string, content io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	return f.write(folderName+"/"+name, content)
}

// DeleteTemplate removes a template.
func (f Folder) DeleteTemplate(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	root, err := fs.OpenRoot(f.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	if err = root.Unlink(folderName + "/" + name); errors.Is(err, os.ErrNotExist) {
		return noTemplate(name)
	}
	return err
}

func noTemplate(name string) error {
	return errs.Newf(errs.NotFound, "template %q not found", name)
}

func checkName(name string) error {
	if name == "" || len(name) > 255 || name[0] == '.' || strings.ContainsAny(name, "/\x00\n") {
		return errs.Newf(errs.Invalid, "template name %q: it is the name of a file, without a slash and a dot at its start", name)
	}
	return nil
}

// read reads a plain file that no link leads to.
func (f Folder) read(name string, limit int64) ([]byte, error) {
	root, err := fs.OpenRoot(f.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	from, err := root.OpenFile(name, os.O_RDONLY|fs.NoFollow, 0)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	b, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, errs.Newf(errs.Invalid, "%s is larger than %d MiB", name, limit>>20)
	}
	return b, err
}

// write replaces a file as a whole: whoever reads it sees the old or the new one.
func (f Folder) write(name string, content io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(content, maxText+1))
	if err != nil {
		return err
	}
	if len(b) > maxText {
		return errs.Newf(errs.Invalid, "%s is larger than %d MiB", name, maxText>>20)
	}
	root, err := fs.OpenRoot(f.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	if dir := path.Dir(name); dir != "." {
		if err := root.Mkdir(dir, fs.Owner{Mode: 0o755}); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	next := path.Join(path.Dir(name), ".next")
	if err := root.Unlink(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := root.Create(next, fs.Owner{Mode: 0o644})
	if err != nil {
		return err
	}
	_, err = to.Write(b)
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return errors.Join(err, root.Unlink(next))
	}
	return root.Rename(next, name)
}

// Due are the templates to render at these triggers, in order of their targets; an instance without metadata has none.
func (f Folder) Due(triggers ...string) (items []Item, err error) {
	m, err := f.Metadata()
	if errs.Is(err, errs.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, target := range slices.Sorted(maps.Keys(m.Templates)) {
		t := m.Templates[target]
		if !slices.ContainsFunc(t.When, func(w string) bool { return slices.Contains(triggers, w) }) {
			continue
		}
		text, err := f.Template(t.Template)
		if err != nil {
			return nil, err
		}
		items = append(items, Item{Target: target, Text: string(text), Properties: t.Properties, CreateOnly: t.CreateOnly})
	}
	return items, nil
}

// Modes of what is made in an instance.
const (
	fileMode   = 0o644
	folderMode = 0o755
)

// Missing leaves out of items those that must not replace what is there.
func Missing(tree *file.Tree, items []Item) ([]Item, error) {
	var due []Item
	for _, item := range items {
		if item.CreateOnly {
			_, err := tree.Stat(item.Target)
			if err == nil {
				continue
			}
			if !errs.Is(err, errs.NotFound) {
				return nil, err
			}
		}
		due = append(due, item)
	}
	return due, nil
}

// Place writes a result to where it belongs.
func Place(tree *file.Tree, target, text string) error {
	target = path.Join("/", target)
	var missing []string
	for dir := path.Dir(target); dir != "/"; dir = path.Dir(dir) {
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := tree.Put(dir, file.Put{Kind: file.Folder, UID: 0, GID: 0, Mode: folderMode}); err != nil {
			return err
		}
	}
	return tree.Put(target, file.Put{UID: 0, GID: 0, Mode: fileMode, Content: strings.NewReader(text)})
}
