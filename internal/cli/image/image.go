// Package image is the branch "lxc image".
package image

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
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

const imageHelp = `This is the image as YAML; lines that start with # are ignored.

Properties are free texts that clients search and show:
  properties:
    description: Debian 12 amd64
    os: Debian`

// Command is the branch "lxc image".
func Command(a *command.App) *cobra.Command {
	return command.Branch("image", "Manage images",
		imageAlias(a), imageCopy(a), imageDelete(a), imageEdit(a), imageExport(a), imageGetProperty(a), imageImport(a), imageInfo(a),
		imageList(a), imageRefresh(a), imageSetProperty(a), imageShow(a), imageUnsetProperty(a))
}

// isFingerprint tells whether s is a fingerprint, or enough of one.
func isFingerprint(s string) bool {
	const enough, whole = 12, 64
	return len(s) >= enough && len(s) <= whole && strings.Trim(s, "0123456789abcdef") == ""
}

// Resolve finds the image that name, an alias or the beginning of a fingerprint, means.
func Resolve(a *command.App, server *client.Client, name string) (fingerprint, kind string, err error) {
	if name == "" {
		return "", "", errors.New("Missing image name: give an alias or a fingerprint")
	}
	var alias api.ImageAliasesEntry
	_, err = server.Get(a.Ctx, client.Path("images", "aliases", name), &alias)
	switch {
	case err == nil:
		return alias.Target, alias.Type, nil
	case !client.IsNotFound(err):
		return "", "", err
	case !isFingerprint(name):
		return "", "", &client.Error{Status: http.StatusNotFound, Text: fmt.Sprintf("Image %q not found: lxc image list shows what there is", name)}
	}
	var image api.Image
	_, err = server.Get(a.Ctx, client.Path("images", name), &image)
	return image.Fingerprint, image.Type, err
}

// find reads the image that arg names, on a server where images can be changed.
func find(a *command.App, arg string, vm bool) (*client.Client, *api.Image, string, error) {
	store, name, err := Open(a, arg)
	if err != nil {
		return nil, nil, "", err
	}
	server, err := store.Editable()
	if err != nil {
		return nil, nil, "", err
	}
	image, etag, err := store.Find(a.Ctx, name, vm)
	return server, image, etag, err
}

// read reads the image that arg names, wherever it is.
func read(a *command.App, arg string, vm bool) (*Store, *api.Image, error) {
	store, name, err := Open(a, arg)
	if err != nil {
		return nil, nil, err
	}
	image, _, err := store.Find(a.Ctx, name, vm)
	return store, image, err
}

func saveImage(a *command.App, server *client.Client, image *api.Image, etag string) error {
	return server.Apply(a.Ctx, http.MethodPut, client.Path("images", image.Fingerprint), image.Writable(), etag)
}

func imageDelete(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "delete [<remote>:]<image> [[<remote>:]<image>...]", Aliases: []string{"rm"}, Short: "Delete images", Least: 1, Most: -1,
		Run: func(args []string) error {
			for _, arg := range args {
				server, name, err := a.Parse(arg)
				if err != nil {
					return err
				}
				fingerprint, _, err := Resolve(a, server, name)
				if err != nil {
					return err
				}
				if err := server.Apply(a.Ctx, http.MethodDelete, client.Path("images", fingerprint), nil, ""); err != nil {
					return err
				}
			}
			return nil
		}})
}

func imageEdit(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "edit [<remote>:]<image>", Short: "Edit image properties", Least: 1, Most: 1,
		Example: "lxc image edit debian < image.yaml\n    Replace the properties by the content of a file",
		Run: func(args []string) error {
			server, image, etag, err := find(a, args[0], false)
			if err != nil {
				return err
			}
			save := func(etag string) func([]byte) error {
				return func(text []byte) error {
					var body api.ImagePut
					if err := yaml.Unmarshal(text, &body); err != nil {
						return err
					}
					return server.Apply(a.Ctx, http.MethodPut, client.Path("images", image.Fingerprint), body, etag)
				}
			}
			if piped, err := a.ReadIn(); err != nil || len(piped) > 0 {
				if err != nil {
					return err
				}
				return save("")(piped)
			}
			return a.EditYAML(imageHelp, image.Writable(), save(etag))
		}})
}

func imageShow(a *command.App) *cobra.Command {
	var vm bool
	cmd := a.Leaf(command.Leaf{Use: "show [<remote>:]<image>", Short: "Show image properties", Least: 1, Most: 1,
		Run: func(args []string) error {
			_, image, err := read(a, args[0], vm)
			if err != nil {
				return err
			}
			return render.YAML(a.Out, image.Writable())
		}})
	cmd.Flags().BoolVar(&vm, "vm", false, "Query virtual machine images")
	return cmd
}

func imageGetProperty(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "get-property [<remote>:]<image> <key>", Short: "Get image properties", Least: 2, Most: 2,
		Run: func(args []string) error {
			_, image, err := read(a, args[0], false)
			if err != nil {
				return err
			}
			value, ok := image.Properties[args[1]]
			if !ok {
				return errors.New("Property not found")
			}
			a.Printf("%s\n", value)
			return nil
		}})
}

func imageSetProperty(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "set-property [<remote>:]<image> <key> <value>", Short: "Set image properties", Least: 3, Most: 3,
		Run: func(args []string) error {
			server, image, etag, err := find(a, args[0], false)
			if err != nil {
				return err
			}
			if image.Properties == nil {
				image.Properties = map[string]string{}
			}
			image.Properties[args[1]] = args[2]
			return saveImage(a, server, image, etag)
		}})
}

func imageUnsetProperty(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "unset-property [<remote>:]<image> <key>", Short: "Unset image properties", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, image, etag, err := find(a, args[0], false)
			if err != nil {
				return err
			}
			delete(image.Properties, args[1])
			return saveImage(a, server, image, etag)
		}})
}

func imageInfo(a *command.App) *cobra.Command {
	var vm bool
	cmd := a.Leaf(command.Leaf{Use: "info [<remote>:]<image>", Short: "Show useful information about images", Least: 1, Most: 1,
		Run: func(args []string) error {
			_, image, err := read(a, args[0], vm)
			if err == nil {
				printImage(a, image)
			}
			return err
		}})
	cmd.Flags().BoolVar(&vm, "vm", false, "Query virtual machine images")
	return cmd
}

func printImage(a *command.App, i *api.Image) {
	word := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	a.Printf("Fingerprint: %s\nSize: %.2fMiB\nArchitecture: %s\nType: %s\nPublic: %s\nTimestamps:\n",
		i.Fingerprint, float64(i.Size)/(1<<20), i.Architecture, cmp.Or(i.Type, "container"), word(i.Public, "yes", "no"))
	if render.Set(i.CreatedAt) {
		a.Printf("    Created: %s\n", render.Time(i.CreatedAt))
	}
	a.Printf("    Uploaded: %s\n    Expires: %s\n    Last used: %s\nProperties:\n",
		render.Time(i.UploadedAt), cmp.Or(render.Time(i.ExpiresAt), "never"), cmp.Or(render.Time(i.LastUsedAt), "never"))
	for _, key := range slices.Sorted(maps.Keys(i.Properties)) {
		a.Printf("    %s: %s\n", key, i.Properties[key])
	}
	a.Printf("Aliases:\n")
	for _, alias := range i.Aliases {
		if alias.Description == "" {
			a.Printf("    - %s\n", alias.Name)
			continue
		}
		a.Printf("    - %s (%s)\n", alias.Name, alias.Description)
	}
	a.Printf("Cached: %s\nAuto update: %s\n", word(i.Cached, "yes", "no"), word(i.AutoUpdate, "enabled", "disabled"))
	if s := i.UpdateSource; s != nil {
		a.Printf("Source:\n    Server: %s\n    Protocol: %s\n    Alias: %s\n", s.Server, s.Protocol, s.Alias)
	}
	a.Printf("Profiles:")
	if len(i.Profiles) == 0 {
		a.Printf(" []\n")
		return
	}
	a.Printf("\n")
	for _, p := range i.Profiles {
		a.Printf("    - %s\n", p)
	}
}

func imageList(a *command.App) *cobra.Command {
	var all bool
	var columns string
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:] [<filter>...]", Aliases: []string{"ls"}, Short: "List images", Most: -1,
		Long: `List images

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
		Run: func(args []string) error {
			store, filters, err := filtered(a, args)
			if err != nil {
				return err
			}
			path := command.Recursive("/1.0/images")
			if all {
				path = command.Query(path, "all-projects", "true")
				columns = "e" + columns
			}
			cols, err := command.Pick(columns, imageColumns())
			if err != nil {
				return err
			}
			images, err := store.Images(a.Ctx, path)
			if err != nil {
				return err
			}
			images = slices.DeleteFunc(images, func(i api.Image) bool { return !imageMatches(&i, filters) })
			header, rows := command.LayOut(cols, images)
			return a.List(*shape, header, rows, images)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "Display images from all projects")
	cmd.Flags().StringVarP(&columns, "columns", "c", "lfpdatsu", "Columns``")
	shape = command.Format(cmd)
	return cmd
}

// filtered splits the arguments of a list into the store and the filters.
func filtered(a *command.App, args []string) (*Store, []string, error) {
	arg := ""
	for i, word := range args {
		if remote, rest, ok := strings.Cut(word, ":"); ok && i == 0 && !strings.Contains(remote, "=") {
			arg, args = remote+":", args[1:]
			if rest != "" {
				args = append([]string{rest}, args...)
			}
			break
		}
	}
	store, _, err := Open(a, arg)
	return store, args, err
}

func imageColumns() []command.Column[api.Image] {
	return []command.Column[api.Image]{
		command.Col('l', "ALIAS", shortestAlias),
		command.Col('L', "ALIASES", func(i *api.Image) string { return strings.Join(aliasNames(i), "\n") }),
		command.Col('f', "FINGERPRINT", func(i *api.Image) string { return fmt.Sprintf("%.12s", i.Fingerprint) }),
		command.Col('F', "FINGERPRINT", func(i *api.Image) string { return i.Fingerprint }),
		command.Col('p', "PUBLIC", func(i *api.Image) string { return strings.ToLower(command.YesNo(i.Public)) }),
		command.Col('d', "DESCRIPTION", func(i *api.Image) string { return i.Properties["description"] }),
		command.Col('e', "PROJECT", func(i *api.Image) string { return i.Project }),
		command.Col('a', "ARCHITECTURE", func(i *api.Image) string { return i.Architecture }),
		command.Col('t', "TYPE", func(i *api.Image) string { return strings.ToUpper(cmp.Or(i.Type, "container")) }),
		command.Col('s', "SIZE", func(i *api.Image) string { return fmt.Sprintf("%.2fMiB", float64(i.Size)/(1<<20)) }),
		command.Col('u', "UPLOAD DATE", func(i *api.Image) string { return i.UploadedAt.UTC().Format("Jan 2, 2006 at 3:04pm (MST)") }),
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

func imageAlias(a *command.App) *cobra.Command {
	return command.Branch("alias", "Manage image aliases", imageAliasCreate(a), imageAliasDelete(a), imageAliasList(a), imageAliasRename(a))
}

func imageAliasCreate(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "create [<remote>:]<alias> <fingerprint>", Short: "Create aliases for existing images", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			fingerprint, _, err := Resolve(a, server, args[1])
			if err != nil {
				return err
			}
			return addAlias(a, server, name, fingerprint)
		}})
}

func addAlias(a *command.App, server *client.Client, name, fingerprint string) error {
	var body api.ImageAliasesPost
	body.Name, body.Target = name, fingerprint
	return server.Apply(a.Ctx, http.MethodPost, "/1.0/images/aliases", body, "")
}

func imageAliasDelete(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "delete [<remote>:]<alias>", Aliases: []string{"rm"}, Short: "Delete image aliases", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.Ctx, http.MethodDelete, client.Path("images", "aliases", name), nil, "")
		}})
}

func imageAliasRename(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "rename [<remote>:]<alias> <new-name>", Aliases: []string{"mv"}, Short: "Rename aliases", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, name, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.Ctx, http.MethodPost, client.Path("images", "aliases", name), api.ImageAliasesEntryPost{Name: args[1]}, "")
		}})
}

func imageAliasList(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:] [<filters>...]", Aliases: []string{"ls"}, Short: "List image aliases", Most: -1,
		Long: "List image aliases\n\nA filter is a part of the alias or of the fingerprint.",
		Run: func(args []string) error {
			store, filters, err := filtered(a, args)
			if err != nil {
				return err
			}
			entries, err := store.Aliases(a.Ctx)
			if err != nil {
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
			return a.List(*shape, []string{"ALIAS", "FINGERPRINT", "TYPE", "DESCRIPTION"}, rows, shown)
		}})
	shape = command.Format(cmd)
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
