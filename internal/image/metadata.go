package image

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/internal/errs"
)

// maxMetadata bounds metadata.yaml.
const maxMetadata = 1 << 20

// architectures are those that an image can be for.
var architectures = map[string]bool{
	"i686": true, "x86_64": true, "armv7l": true, "aarch64": true, "ppc": true, "ppc64": true, "ppc64le": true, "s390x": true,
	"mips": true, "mips64": true, "riscv32": true, "riscv64": true, "armv6l": true, "armv8l": true, "loongarch64": true,
}

// ParseMetadata reads a metadata.yaml and checks it; whatever is wrong is Invalid.
func ParseMetadata(r io.Reader) (m api.ImageMetadata, err error) {
	b, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err != nil {
		return m, err
	}
	if len(b) > maxMetadata {
		return m, errs.Newf(errs.Invalid, "metadata.yaml is larger than %d MiB", maxMetadata>>20)
	}
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&m); err != nil {
		if errors.Is(err, io.EOF) {
			return m, errs.Newf(errs.Invalid, "metadata.yaml is empty")
		}
		return m, errs.Newf(errs.Invalid, "metadata.yaml cannot be read: %w", err)
	}
	return m, checkMetadata(m)
}

func checkMetadata(m api.ImageMetadata) error {
	switch {
	case m.Architecture == "":
		return errs.Newf(errs.Invalid, "metadata.yaml names no architecture")
	case !architectures[m.Architecture]:
		return errs.Newf(errs.Invalid, "metadata.yaml: unknown architecture %q", m.Architecture)
	case m.CreationDate == 0:
		return errs.Newf(errs.Invalid, "metadata.yaml has no creation_date (seconds since 1970)")
	}
	for target, t := range m.Templates {
		if t.Template == "" || strings.ContainsAny(t.Template, "/\x00") || t.Template == "." || t.Template == ".." {
			return errs.Newf(errs.Invalid, "metadata.yaml: the template of %q is %q: it must be the name of a file in templates/", target, t.Template)
		}
	}
	return nil
}
