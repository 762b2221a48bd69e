package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// still makes an instance of the Debian image that does not run.
func still(ctx context.Context, _ *bench, s *server) error {
	return s.run(ctx, "init", "debian", "m", "-s", s.pool)
}

// publishRow times the making of an image; what it made goes again.
func publishRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	d, err := timed("publish", "m", "--alias", "published")(ctx, nil, s, 0)
	if err != nil {
		return 0, err
	}
	return d, s.run(ctx, "image", "delete", "published")
}

// exportRow times the export of the Debian image to a file.
func exportRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	to := filepath.Join(s.dir+".home", "exported")
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return 0, err
	}
	d, err := timed("image", "export", "debian", to)(ctx, nil, s, 0)
	return d, errors.Join(err, os.Remove(to+".tar.gz"))
}

// importRow times the import of an image that the server does not have: the Debian one, packed as one or, with split, in two files.
func importRow(split bool) func(context.Context, *bench, *server, int) (float64, error) {
	return func(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
		args, err := anotherImage(ctx, s, split)
		if err != nil {
			return 0, err
		}
		d, err := timed(append([]string{"image", "import", "--alias", "imported"}, args...)...)(ctx, nil, s, 0)
		if err != nil {
			return 0, err
		}
		return d, s.run(ctx, "image", "delete", "imported")
	}
}

// anotherImage packs the Debian image once more, with other metadata.
func anotherImage(ctx context.Context, s *server, split bool) (files []string, err error) {
	dir := filepath.Dir(s.dir)
	root, meta, whole := dir+"/another.squashfs", dir+"/another-meta.tar.gz", dir+"/another.tar.gz"
	files = []string{whole}
	if split {
		files = []string{meta, root}
	}
	if _, err := os.Stat(files[0]); err == nil {
		return files, nil
	}
	text, err := os.ReadFile(dir + "/debian/metadata.yaml")
	if err != nil {
		return nil, err
	}
	other := dir + "/another"
	if err := errors.Join(os.MkdirAll(other, 0o755), os.WriteFile(other+"/metadata.yaml", append(text, "  another: yes\n"...), 0o644)); err != nil {
		return nil, err
	}
	commands := [][]string{{"tar", "--numeric-owner", "-czf", whole, "-C", other, "metadata.yaml", "-C", dir + "/debian", "rootfs"}}
	if split {
		commands = [][]string{{"tar", "-czf", meta, "-C", other, "metadata.yaml"}, {"mksquashfs", dir + "/debian/rootfs", root, "-noappend", "-quiet", "-no-progress"}}
	}
	for _, c := range commands {
		if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
			return nil, errors.Join(err, errors.New(string(out)))
		}
	}
	return files, nil
}

// unpackRow times the first instance of an image, which is unpacked for it.
func unpackRow(ctx context.Context, b *bench, s *server, i int) (float64, error) {
	files, err := anotherImage(ctx, s, true)
	if err != nil {
		return 0, err
	}
	if err := s.run(ctx, append([]string{"image", "import", "--alias", "imported"}, files...)...); err != nil {
		return 0, err
	}
	d, err := timed("init", "imported", "u")(ctx, b, s, i)
	return d, errors.Join(err, s.run(ctx, "delete", "u"), s.run(ctx, "image", "delete", "imported"))
}
