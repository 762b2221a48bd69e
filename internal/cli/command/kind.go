package command

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/client"
	"lxd/internal/cli/property"
	"lxd/internal/cli/render"
)

// Kind is a sort of object with configuration: F is the whole object, P the part that can be changed.
// Its methods make the commands that all such objects share.
type Kind[F, P any] struct {
	// App is the run.
	App *App
	// Noun names the sort in texts, Words are its arguments in usage lines.
	Noun, Words string
	// Names is how many arguments name an object.
	Names int
	// Path is the object's URL; the first name has lost its remote.
	Path func(names []string) string
	// Writable picks the part that can be changed.
	Writable func(*F) P
	// Settings is the configuration within that part; nil when there is none.
	Settings func(*P) *map[string]string
	// Targeted says that the object may be specific to a cluster member.
	Targeted bool
	// Help is the head of the text that edit opens.
	Help string
	// Newline says that get prints an empty line for a key that is not set.
	Newline bool
	// Pairs is what set says that it takes; empty means the usual.
	Pairs string
	// Branch is where the commands are, when that is not the noun.
	Branch string
	// Named refuses names of a form that no object has; nil takes all.
	Named func(names []string) error
	// Check refuses servers that cannot have such objects; nil takes all.
	Check func(*client.Client) error
}

// Object is one object that a command line named.
type Object struct {
	// Server has the object, at Path.
	Server *client.Client
	Path   string
}

// At is the object that the first of args name, on a cluster member if target is not empty.
func (k *Kind[F, P]) At(args []string, target string) (Object, error) {
	names := slices.Clone(args[:k.Names])
	server, name, err := k.App.Parse(names[0])
	if err != nil {
		return Object{}, err
	}
	names[0] = name
	if slices.Contains(names, "") {
		return Object{}, fmt.Errorf("Missing %s name", k.Noun)
	}
	if k.Named != nil {
		if err := k.Named(names); err != nil {
			return Object{}, err
		}
	}
	if target != "" {
		server = server.OnTarget(target)
	}
	if k.Check != nil {
		if err := k.Check(server); err != nil {
			return Object{}, err
		}
	}
	return Object{server, k.Path(names)}, nil
}

// Read fetches the object.
func (o Object) Read(ctx context.Context, out any) (etag string, err error) {
	return o.Server.Get(ctx, o.Path, out)
}

func (k *Kind[F, P]) target(cmd *cobra.Command) *string {
	var name string
	if k.Targeted {
		cmd.Flags().StringVar(&name, "target", "", "Cluster member name``")
	}
	return &name
}

// Load reads the object that args name; a server has no name.
func Load[F, P any](k *Kind[F, P], args []string, target string) (Object, *F, error) {
	server, name, err := k.App.Parse(args[0])
	if err != nil {
		return Object{}, nil, err
	}
	if target != "" {
		server = server.OnTarget(target)
	}
	o := Object{server, k.Path([]string{name})}
	var full F
	_, err = o.Read(k.App.Ctx, &full)
	return o, &full, err
}

// Show makes the command that shows an object.
func (k *Kind[F, P]) Show() *cobra.Command {
	var target *string
	cmd := k.App.Leaf(Leaf{Use: "show " + k.Words, Short: "Show " + k.Noun + " configurations", Least: k.Names, Most: k.Names,
		Run: func(args []string) error { return k.ShowObject(args, *target) }})
	target = k.target(cmd)
	return cmd
}

// ShowObject prints the object that args name.
func (k *Kind[F, P]) ShowObject(args []string, target string) error {
	o, err := k.At(args, target)
	if err != nil {
		return err
	}
	var full F
	if _, err := o.Read(k.App.Ctx, &full); err != nil {
		return err
	}
	return render.YAML(k.App.Out, tidy(full))
}

// tidy puts the list UsedBy of an object into order, where it has one.
func tidy(full any) any {
	v := reflect.ValueOf(full)
	if v.Kind() == reflect.Struct {
		if used := v.FieldByName("UsedBy"); used.IsValid() {
			slices.Sort(used.Interface().([]string))
		}
	}
	return full
}

// Get makes the command that prints one key.
func (k *Kind[F, P]) Get() *cobra.Command {
	var target *string
	var property bool
	cmd := k.App.Leaf(Leaf{Use: "get " + k.Words + " <key>", Short: "Get values for " + k.Noun + " configuration keys", Least: k.Names + 1, Most: k.Names + 1,
		Run: func(args []string) error {
			o, err := k.At(args, *target)
			if err != nil {
				return err
			}
			var full F
			if _, err := o.Read(k.App.Ctx, &full); err != nil {
				return err
			}
			value, err := k.value(&full, args[k.Names], property)
			if err == nil && (value != "" || k.Newline) {
				k.App.Printf("%s\n", value)
			}
			return err
		}})
	target = k.target(cmd)
	cmd.Flags().BoolVarP(&property, "property", "p", false, "Get the key as a property of the "+k.Noun)
	return cmd
}

func (k *Kind[F, P]) value(full *F, key string, asProperty bool) (string, error) {
	put := k.Writable(full)
	if asProperty {
		return property.Read(&put, key)
	}
	return (*k.Settings(&put))[key], nil
}

// Set makes the command that sets keys.
func (k *Kind[F, P]) Set() *cobra.Command {
	var target *string
	var property bool
	cmd := k.App.Leaf(Leaf{Use: "set " + k.Words + " " + cmp.Or(k.Pairs, "<key>=<value>..."), Short: "Set " + k.Noun + " configuration keys", Least: k.Names + 1, Most: -1,
		Long: "Set " + k.Noun + " configuration keys\n\nA single key may also be given in two arguments: <key> <value>",
		Run: func(args []string) error {
			changes, err := k.App.Assignments(args[k.Names:])
			if err != nil {
				return err
			}
			return k.change(args, *target, changes, property)
		}})
	target = k.target(cmd)
	cmd.Flags().BoolVarP(&property, "property", "p", false, "Set the key as a property of the "+k.Noun)
	return cmd
}

// Unset makes the command that unsets a key.
func (k *Kind[F, P]) Unset() *cobra.Command {
	var target *string
	var property bool
	cmd := k.App.Leaf(Leaf{Use: "unset " + k.Words + " <key>", Short: "Unset " + k.Noun + " configuration keys", Least: k.Names + 1, Most: k.Names + 1,
		Run: func(args []string) error {
			return k.change(args, *target, map[string]string{args[k.Names]: ""}, property)
		}})
	target = k.target(cmd)
	cmd.Flags().BoolVarP(&property, "property", "p", false, "Unset the key as a property of the "+k.Noun)
	return cmd
}

// change applies changes to the configuration, or to the properties, of the object that args name.
func (k *Kind[F, P]) change(args []string, target string, changes map[string]string, asProperty bool) error {
	return k.Update(args, target, func(p *P) error {
		if asProperty {
			return property.Write(p, changes)
		}
		settings := k.Settings(p)
		if *settings == nil {
			*settings = map[string]string{}
		}
		for key, value := range changes {
			if value == "" {
				delete(*settings, key)
				continue
			}
			(*settings)[key] = value
		}
		return nil
	})
}

// Update reads the object, lets edit change it and writes it back unless somebody else was faster.
func (k *Kind[F, P]) Update(args []string, target string, edit func(*P) error) error {
	o, err := k.At(args, target)
	if err != nil {
		return err
	}
	var full F
	etag, err := o.Read(k.App.Ctx, &full)
	if err != nil {
		return err
	}
	p := k.Writable(&full)
	if err := edit(&p); err != nil {
		return err
	}
	return o.Server.Apply(k.App.Ctx, http.MethodPut, o.Path, p, etag)
}

// Edit makes the command that edits an object as YAML.
func (k *Kind[F, P]) Edit() *cobra.Command {
	target := new(string)
	name := strings.Fields(k.Words)[0]
	branch := cmp.Or(k.Branch, k.Noun)
	cmd := k.App.Leaf(Leaf{Use: "edit " + k.Words, Short: "Edit " + k.Noun + " configurations as YAML", Least: k.Names, Most: k.Names,
		Example: "lxc " + branch + " edit " + name + " < " + strings.ReplaceAll(k.Noun, " ", "-") + ".yaml\n    Replace the configuration by the content of a file",
		Run:     func(args []string) error { return k.EditObject(args, *target) }})
	if k.Names > 1 { // pools and networks are edited as a whole
		target = k.target(cmd)
	}
	return cmd
}

// EditObject lets the user edit the object that args name, or takes it from standard input.
func (k *Kind[F, P]) EditObject(args []string, target string) error {
	o, err := k.At(args, target)
	if err != nil {
		return err
	}
	save := func(text []byte, etag string) error {
		var p P
		if err := yaml.Unmarshal(text, &p); err != nil {
			return err
		}
		return o.Server.Apply(k.App.Ctx, http.MethodPut, o.Path, p, etag)
	}
	if piped, err := k.App.ReadIn(); err != nil || len(piped) > 0 {
		if err != nil {
			return err
		}
		return save(piped, "")
	}
	var full F
	etag, err := o.Read(k.App.Ctx, &full)
	if err != nil {
		return err
	}
	return k.App.EditYAML(k.Help, tidy(full), func(text []byte) error { return save(text, etag) })
}

// Delete makes the command that deletes an object and says what it did.
func (k *Kind[F, P]) Delete(short, done string) *cobra.Command {
	return k.App.Leaf(Leaf{Use: "delete " + k.Words, Aliases: []string{"rm"}, Short: short, Least: k.Names, Most: k.Names,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			if err := o.Server.Apply(k.App.Ctx, http.MethodDelete, o.Path, nil, ""); err != nil {
				return err
			}
			k.App.Say(done, client.Base(o.Path))
			return nil
		}})
}

// Rename makes the command that gives an object another name and says so.
func (k *Kind[F, P]) Rename(short, done string) *cobra.Command {
	return k.App.Leaf(Leaf{Use: "rename " + k.Words + " <new-name>", Aliases: []string{"mv"}, Short: short, Least: k.Names + 1, Most: k.Names + 1,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			name := args[k.Names]
			if err := o.Server.Apply(k.App.Ctx, http.MethodPost, o.Path, map[string]string{"name": name}, ""); err != nil {
				return err
			}
			k.App.Say(done, client.Base(o.Path), name)
			return nil
		}})
}
