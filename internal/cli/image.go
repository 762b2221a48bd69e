package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/render"
)

const imageHelp = `This is the image as YAML; lines that start with # are ignored.

Properties are free texts that clients search and show:
  properties:
    description: Debian 12 amd64
    os: Debian`

func imageCommand(a *App) *cobra.Command {
	return branch("image", "Manage images",
		imageAlias(a), imageDelete(a), imageEdit(a), imageExport(a), imageGetProperty(a), imageImport(a), imageInfo(a),
		imageList(a), imageSetProperty(a), imageShow(a), imageUnsetProperty(a))
}

// fingerprintForm is a fingerprint, or enough of one.
var fingerprintForm = regexp.MustCompile("^[0-9a-f]{12,64}$")

// resolve finds the image that name, an alias or the beginning of a fingerprint, means.
func (a *App) resolve(server *client.Client, name string) (fingerprint, kind string, err error) {
	if name == "" {
		return "", "", errors.New("Missing image name: give an alias or a fingerprint")
	}
	var alias api.ImageAliasesEntry
	_, err = server.Get(a.ctx, client.Path("images", "aliases", name), &alias)
	switch {
	case err == nil:
		return alias.Target, alias.Type, nil
	case !client.IsNotFound(err):
		return "", "", err
	case !fingerprintForm.MatchString(name):
		return "", "", &client.Error{Status: http.StatusNotFound, Text: "Image not found"}
	}
	var image api.Image
	_, err = server.Get(a.ctx, client.Path("images", name), &image)
	return image.Fingerprint, image.Type, err
}

// image reads the image that arg names.
func (a *App) image(arg string) (*client.Client, *api.Image, string, error) {
	server, name, err := a.parse(arg)
	if err != nil {
		return nil, nil, "", err
	}
	fingerprint, _, err := a.resolve(server, name)
	if err != nil {
		return nil, nil, "", err
	}
	var image api.Image
	etag, err := server.Get(a.ctx, client.Path("images", fingerprint), &image)
	return server, &image, etag, err
}

func (a *App) imageNames(args []string, prefix string) []string {
	return a.names("images/aliases", prefix)
}

func (a *App) saveImage(server *client.Client, image *api.Image, etag string) error {
	return server.Apply(a.ctx, put, client.Path("images", image.Fingerprint), image.Writable(), etag)
}

func imageDelete(a *App) *cobra.Command {
	return a.leaf(spec{use: "delete [<remote>:]<image> [[<remote>:]<image>...]", aliases: []string{"rm"}, short: "Delete images", least: 1, most: -1,
		complete: a.imageNames,
		run: func(args []string) error {
			for _, arg := range args {
				server, name, err := a.parse(arg)
				if err != nil {
					return err
				}
				fingerprint, _, err := a.resolve(server, name)
				if err != nil {
					return err
				}
				if err := server.Apply(a.ctx, remove, client.Path("images", fingerprint), nil, ""); err != nil {
					return err
				}
			}
			return nil
		}})
}

func imageEdit(a *App) *cobra.Command {
	return a.leaf(spec{use: "edit [<remote>:]<image>", short: "Edit image properties", least: 1, most: 1, complete: a.imageNames,
		example: "lxc image edit debian < image.yaml\n    Replace the properties by the content of a file",
		run: func(args []string) error {
			server, image, etag, err := a.image(args[0])
			if err != nil {
				return err
			}
			save := func(etag string) func([]byte) error {
				return func(text []byte) error {
					var body api.ImagePut
					if err := yaml.Unmarshal(text, &body); err != nil {
						return err
					}
					return server.Apply(a.ctx, put, client.Path("images", image.Fingerprint), body, etag)
				}
			}
			if piped, err := a.readIn(); err != nil || len(piped) > 0 {
				if err != nil {
					return err
				}
				return save("")(piped)
			}
			return a.editYAML(imageHelp, image.Writable(), save(etag))
		}})
}

func imageShow(a *App) *cobra.Command {
	cmd := a.leaf(spec{use: "show [<remote>:]<image>", short: "Show image properties", least: 1, most: 1, complete: a.imageNames,
		run: func(args []string) error {
			_, image, _, err := a.image(args[0])
			if err != nil {
				return err
			}
			return render.YAML(a.Out, image.Writable())
		}})
	cmd.Flags().Bool("vm", false, "Query virtual machine images")
	return cmd
}

func imageGetProperty(a *App) *cobra.Command {
	return a.leaf(spec{use: "get-property [<remote>:]<image> <key>", short: "Get image properties", least: 2, most: 2, complete: a.imageNames,
		run: func(args []string) error {
			_, image, _, err := a.image(args[0])
			if err != nil {
				return err
			}
			value, ok := image.Properties[args[1]]
			if !ok {
				return errors.New("Property not found")
			}
			a.printf("%s\n", value)
			return nil
		}})
}

func imageSetProperty(a *App) *cobra.Command {
	return a.leaf(spec{use: "set-property [<remote>:]<image> <key> <value>", short: "Set image properties", least: 3, most: 3, complete: a.imageNames,
		run: func(args []string) error {
			server, image, etag, err := a.image(args[0])
			if err != nil {
				return err
			}
			if image.Properties == nil {
				image.Properties = map[string]string{}
			}
			image.Properties[args[1]] = args[2]
			return a.saveImage(server, image, etag)
		}})
}

func imageUnsetProperty(a *App) *cobra.Command {
	return a.leaf(spec{use: "unset-property [<remote>:]<image> <key>", short: "Unset image properties", least: 2, most: 2, complete: a.imageNames,
		run: func(args []string) error {
			server, image, etag, err := a.image(args[0])
			if err != nil {
				return err
			}
			delete(image.Properties, args[1])
			return a.saveImage(server, image, etag)
		}})
}

func imageInfo(a *App) *cobra.Command {
	cmd := a.leaf(spec{use: "info [<remote>:]<image>", short: "Show useful information about images", least: 1, most: 1, complete: a.imageNames,
		run: func(args []string) error {
			_, image, _, err := a.image(args[0])
			if err == nil {
				a.printImage(image)
			}
			return err
		}})
	cmd.Flags().Bool("vm", false, "Query virtual machine images")
	return cmd
}

func (a *App) printImage(i *api.Image) {
	word := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	a.printf("Fingerprint: %s\nSize: %.2fMiB\nArchitecture: %s\nType: %s\nPublic: %s\nTimestamps:\n",
		i.Fingerprint, float64(i.Size)/(1<<20), i.Architecture, cmp.Or(i.Type, "container"), word(i.Public, "yes", "no"))
	if render.Set(i.CreatedAt) {
		a.printf("    Created: %s\n", render.Time(i.CreatedAt))
	}
	a.printf("    Uploaded: %s\n    Expires: %s\n    Last used: %s\nProperties:\n",
		render.Time(i.UploadedAt), cmp.Or(render.Time(i.ExpiresAt), "never"), cmp.Or(render.Time(i.LastUsedAt), "never"))
	for _, key := range slices.Sorted(maps.Keys(i.Properties)) {
		a.printf("    %s: %s\n", key, i.Properties[key])
	}
	a.printf("Aliases:\n")
	for _, alias := range i.Aliases {
		if alias.Description == "" {
			a.printf("    - %s\n", alias.Name)
			continue
		}
		a.printf("    - %s (%s)\n", alias.Name, alias.Description)
	}
	a.printf("Cached: %s\nAuto update: %s\n", word(i.Cached, "yes", "no"), word(i.AutoUpdate, "enabled", "disabled"))
	if s := i.UpdateSource; s != nil {
		a.printf("Source:\n    Server: %s\n    Protocol: %s\n    Alias: %s\n", s.Server, s.Protocol, s.Alias)
	}
	a.printf("Profiles:")
	if len(i.Profiles) == 0 {
		a.printf(" []\n")
		return
	}
	a.printf("\n")
	for _, p := range i.Profiles {
		a.printf("    - %s\n", p)
	}
}

func imageList(a *App) *cobra.Command {
	var all bool
	var columns string
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:] [<filter>...]", aliases: []string{"ls"}, short: "List images", most: -1,
		long: `List images

A filter is <key>=<value>, comparing a property, or a part of an alias or of the fingerprint.

Columns:
  l - Shortest image alias (and optionally number of other aliases)
  L - Newline-separated list of all image aliases
  f - Fingerprint (short)
  F - Fingerprint (long)
  p - Whether image is public
  d - Description
  e - Project
  a - Architecture
  s - Size
  u - Upload date
  t - Type`,
		run: func(args []string) error {
			server, filters, err := a.listArgs(args)
			if err != nil {
				return err
			}
			path := recursive("/1.0/images")
			if all {
				path = query(path, "all-projects", "true")
				columns = "e" + columns
			}
			cols, err := pick(columns, imageColumns())
			if err != nil {
				return err
			}
			var images []api.Image
			if _, err := server.Get(a.ctx, path, &images); err != nil {
				return err
			}
			images = slices.DeleteFunc(images, func(i api.Image) bool { return !imageMatches(&i, filters) })
			header, rows := layOut(cols, images)
			return a.list(*shape, header, rows, images)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "Display images from all projects")
	cmd.Flags().StringVarP(&columns, "columns", "c", "lfpdatsu", "Columns``")
	shape = format(cmd)
	return cmd
}

func imageColumns() []column[api.Image] {
	return []column[api.Image]{
		{'l', "ALIAS", shortestAlias},
		{'L', "ALIASES", func(i *api.Image) string { return strings.Join(aliasNames(i), "\n") }},
		{'f', "FINGERPRINT", func(i *api.Image) string { return fmt.Sprintf("%.12s", i.Fingerprint) }},
		{'F', "FINGERPRINT", func(i *api.Image) string { return i.Fingerprint }},
		{'p', "PUBLIC", func(i *api.Image) string { return strings.ToLower(yesNo(i.Public)) }},
		{'d', "DESCRIPTION", func(i *api.Image) string { return i.Properties["description"] }},
		{'e', "PROJECT", func(i *api.Image) string { return i.Project }},
		{'a', "ARCHITECTURE", func(i *api.Image) string { return i.Architecture }},
		{'t', "TYPE", func(i *api.Image) string { return strings.ToUpper(cmp.Or(i.Type, "container")) }},
		{'s', "SIZE", func(i *api.Image) string { return fmt.Sprintf("%.2fMiB", float64(i.Size)/(1<<20)) }},
		{'u', "UPLOAD DATE", func(i *api.Image) string { return i.UploadedAt.UTC().Format("Jan 2, 2006 at 3:04pm (MST)") }},
	}
}

func aliasNames(i *api.Image) []string {
	var out []string
	for _, alias := range i.Aliases {
		out = append(out, alias.Name)
	}
	return out
}

// shortestAlias is the shortest alias and how many more there are.
func shortestAlias(i *api.Image) string {
	names := aliasNames(i)
	if len(names) == 0 {
		return ""
	}
	slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s (%d more)", names[0], len(names)-1)
}

// imageMatches tells whether every filter holds: key=value for a property or one of two fields, or a part of the names.
func imageMatches(i *api.Image, filters []string) bool {
	for _, filter := range filters {
		key, value, isPair := strings.Cut(filter, "=")
		ok := false
		switch {
		case !isPair:
			ok = strings.HasPrefix(i.Fingerprint, filter) || slices.ContainsFunc(aliasNames(i), func(n string) bool { return strings.Contains(n, filter) })
		case key == "type":
			ok = strings.EqualFold(value, cmp.Or(i.Type, "container"))
		case key == "architecture" && i.Architecture == value:
			ok = true
		default:
			ok = propertyMatches(i, key, value)
		}
		if !ok {
			return false
		}
	}
	return true
}

// propertyMatches compares properties whose key starts with key; value may be a regular expression.
func propertyMatches(i *api.Image, key, value string) bool {
	expr, err := regexp.Compile("^(?:" + value + ")$")
	for k, v := range i.Properties {
		if strings.HasPrefix(k, key) && (v == value || err == nil && expr.MatchString(v)) {
			return true
		}
	}
	return false
}

func imageAlias(a *App) *cobra.Command {
	return branch("alias", "Manage image aliases", imageAliasCreate(a), imageAliasDelete(a), imageAliasList(a), imageAliasRename(a))
}

func imageAliasCreate(a *App) *cobra.Command {
	return a.leaf(spec{use: "create [<remote>:]<alias> <fingerprint>", short: "Create aliases for existing images", least: 2, most: 2,
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			fingerprint, _, err := a.resolve(server, args[1])
			if err != nil {
				return err
			}
			return addAlias(a, server, name, fingerprint)
		}})
}

func addAlias(a *App, server *client.Client, name, fingerprint string) error {
	var body api.ImageAliasesPost
	body.Name, body.Target = name, fingerprint
	return server.Apply(a.ctx, post, "/1.0/images/aliases", body, "")
}

func imageAliasDelete(a *App) *cobra.Command {
	return a.leaf(spec{use: "delete [<remote>:]<alias>", aliases: []string{"rm"}, short: "Delete image aliases", least: 1, most: 1, complete: a.imageNames,
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.ctx, remove, client.Path("images", "aliases", name), nil, "")
		}})
}

func imageAliasRename(a *App) *cobra.Command {
	return a.leaf(spec{use: "rename [<remote>:]<alias> <new-name>", aliases: []string{"mv"}, short: "Rename aliases", least: 2, most: 2, complete: a.imageNames,
		run: func(args []string) error {
			server, name, err := a.parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.ctx, post, client.Path("images", "aliases", name), api.ImageAliasesEntryPost{Name: args[1]}, "")
		}})
}

func imageAliasList(a *App) *cobra.Command {
	var shape *string
	cmd := a.leaf(spec{use: "list [<remote>:] [<filters>...]", aliases: []string{"ls"}, short: "List image aliases", most: -1,
		long: "List image aliases\n\nA filter is a part of the alias or of the fingerprint.",
		run: func(args []string) error {
			server, filters, err := a.listArgs(args)
			if err != nil {
				return err
			}
			var entries []api.ImageAliasesEntry
			if _, err := server.Get(a.ctx, recursive("/1.0/images/aliases"), &entries); err != nil {
				return err
			}
			shown := []api.ImageAliasesEntry{}
			rows := [][]string{}
			for _, e := range entries {
				if !entryMatches(&e, filters) {
					continue
				}
				shown = append(shown, e)
				rows = append(rows, []string{e.Name, fmt.Sprintf("%.12s", e.Target), strings.ToUpper(e.Type), e.Description})
			}
			return a.list(*shape, []string{"ALIAS", "FINGERPRINT", "TYPE", "DESCRIPTION"}, rows, shown)
		}})
	shape = format(cmd)
	return cmd
}

func entryMatches(e *api.ImageAliasesEntry, filters []string) bool {
	for _, f := range filters {
		if !strings.Contains(e.Name, f) && !strings.HasPrefix(e.Target, f) {
			return false
		}
	}
	return true
}
