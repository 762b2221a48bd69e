// Package tree writes the static files of an image server, which any web server can then offer: the index, the file of products, and the
// images.
package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Image is one build of a product.
type Image struct {
	// OS, Release, Arch (Debian's name, such as "amd64") and Variant make the product; Arch and OS are needed.
	OS, Release, Arch, Variant string
	// Aliases are the names of the product; they are those of its newest build.
	Aliases []string
	// Serial is when the image was made, YYYYMMDD or YYYYMMDD_HHMM; Label is free.
	Serial, Label string
	// EOL is the day that the support ends, YYYY-MM-DD.
	EOL          string
	Requirements map[string]string
	// Meta is the path of the image, or of the metadata of one in two files; Root is then that of the second.
	Meta, Root string
}

type item map[string]any

type build struct {
	Items map[string]item `json:"items"`
	Label string          `json:"label,omitempty"`
}

type product struct {
	Aliases      string            `json:"aliases"`
	Arch         string            `json:"arch"`
	OS           string            `json:"os"`
	Release      string            `json:"release"`
	ReleaseTitle string            `json:"release_title"`
	Variant      string            `json:"variant,omitempty"`
	SupportEOL   string            `json:"support_eol,omitempty"`
	Requirements map[string]string `json:"requirements,omitempty"`
	Versions     map[string]build  `json:"versions"`
}

// productsPath is the file of products.
const productsPath = "streams/v1/images.json"

// Write makes dir a server of exactly these images. Images that it has already are not copied again; documents are replaced as a whole, the
// index last, so that a server may offer dir meanwhile.
func Write(dir string, images []Image) error {
	products := map[string]product{}
	for _, i := range images {
		if err := i.check(); err != nil {
			return err
		}
		b, err := i.copyTo(dir)
		if err != nil {
			return err
		}
		name := i.product()
		p, ok := products[name]
		if !ok {
			p = product{Aliases: strings.Join(i.Aliases, ","), Arch: i.Arch, OS: i.OS, Release: i.Release, ReleaseTitle: i.Release,
				Variant: i.Variant, SupportEOL: i.EOL, Requirements: i.Requirements, Versions: map[string]build{}}
		}
		if old, ok := p.Versions[i.Serial]; ok {
			if err := b.join(old); err != nil {
				return fmt.Errorf("%s, build %s: %w", name, i.Serial, err)
			}
		}
		p.Versions[i.Serial] = b
		products[name] = p
	}
	return documents(dir, products)
}

func (i Image) product() string {
	variant := i.Variant
	if variant == "" {
		variant = "default"
	}
	return strings.ToLower(strings.Join([]string{i.OS, i.Release, i.Arch, variant}, ":"))
}

func (i Image) check() error {
	for _, s := range []string{i.OS, i.Release, i.Arch, i.Variant, i.Serial} {
		if strings.ContainsAny(s, "/\x00\n") || s == ".." {
			return fmt.Errorf("%q cannot be a part of a path", s)
		}
	}
	if i.OS == "" || i.Arch == "" {
		return errors.New("an image needs an OS and an architecture")
	}
	if len(i.Serial) < 8 {
		return fmt.Errorf("serial %q is not of the form YYYYMMDD or YYYYMMDD_HHMM", i.Serial)
	}
	if _, err := time.Parse("20060102", i.Serial[:8]); err != nil {
		return fmt.Errorf("serial %q is not of the form YYYYMMDD or YYYYMMDD_HHMM", i.Serial)
	}
	return nil
}

// join takes in the items of another image of the same build.
func (b build) join(old build) error {
	for name, it := range old.Items {
		if mine, ok := b.Items[name]; ok && mine["sha256"] != it["sha256"] {
			return fmt.Errorf("two files want to be its %s", name)
		} else if ok {
			maps.Copy(it, mine)
		}
		b.Items[name] = it
	}
	return nil
}

// copyTo puts the files of an image into the tree and describes them.
func (i Image) copyTo(dir string) (build, error) {
	folder := path.Join("images", i.OS, i.Release, i.Arch, i.Variant, i.Serial)
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
		return build{}, err
	}
	b := build{Items: map[string]item{}, Label: i.Label}
	if i.Root == "" {
		meta, _, err := place(dir, folder, "lxd_combined.tar.gz", i.Meta)
		b.Items["lxd_combined.tar.gz"] = meta
		return b, err
	}
	ftype, field, err := kind(i.Root)
	if err != nil {
		return b, err
	}
	meta, _, err := place(dir, folder, "lxd.tar.xz", i.Meta)
	if err != nil {
		return b, err
	}
	root, name, err := place(dir, folder, ftype, i.Root)
	if err != nil {
		return b, err
	}
	if meta[field], err = hashOf(i.Meta, i.Root); err != nil {
		return b, err
	}
	b.Items["lxd.tar.xz"], b.Items[name] = meta, root
	return b, nil
}

// kind is what a second file is called, and the field of the first that holds the hash of both.
func kind(file string) (ftype, field string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	head := make([]byte, 6)
	if _, err := io.ReadFull(f, head); err != nil {
		return "", "", fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case strings.HasPrefix(string(head), "hsqs"):
		return "squashfs", "combined_squashfs_sha256", nil
	case strings.HasPrefix(string(head), "\xfd7zXZ"):
		return "root.tar.xz", "combined_rootxz_sha256", nil
	case strings.HasPrefix(string(head), "QFI"):
		return "disk-kvm.img", "combined_disk-kvm-img_sha256", nil
	}
	return "", "", fmt.Errorf("%s is neither squashfs nor a tar.xz archive nor a qcow2 disk", file)
}

// place copies a file into the tree, unless it is there, and describes it.
func place(dir, folder, ftype, file string) (item, string, error) {
	sum, err := hashOf(file)
	if err != nil {
		return nil, "", err
	}
	st, err := os.Stat(file)
	if err != nil {
		return nil, "", err
	}
	at := path.Join(folder, ftype)
	if have, err := hashOf(filepath.Join(dir, at)); err != nil || have != sum {
		if err := copyFile(file, filepath.Join(dir, at)); err != nil {
			return nil, "", err
		}
	}
	return item{"ftype": ftype, "path": at, "size": st.Size(), "sha256": sum}, ftype, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return replace(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// replace writes a file anew, as a whole.
func replace(to string, write func(io.Writer) error) error {
	out, err := os.CreateTemp(filepath.Dir(to), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	err = errors.Join(write(out), out.Chmod(0o644), out.Close())
	if err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// hashOf is the hash of the files one after the other.
func hashOf(files ...string) (string, error) {
	sum := sha256.New()
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func documents(dir string, products map[string]product) error {
	if err := os.MkdirAll(filepath.Join(dir, "streams/v1"), 0o755); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC1123Z)
	head := func(more map[string]any) map[string]any {
		all := map[string]any{"content_id": "images", "datatype": "image-downloads", "updated": now}
		maps.Copy(all, more)
		return all
	}
	for _, d := range []struct {
		path string
		body any
	}{
		{productsPath, head(map[string]any{"format": "products:1.0", "products": products})},
		{"streams/v1/index.json", map[string]any{"format": "index:1.0", "updated": now, "index": map[string]any{
			"images": head(map[string]any{"format": "products:1.0", "path": productsPath, "products": slices.Sorted(maps.Keys(products))}),
		}}},
	} {
		err := replace(filepath.Join(dir, d.path), func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			return e.Encode(d.body)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
