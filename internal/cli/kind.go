package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"lxd/client"
	"lxd/internal/cli/editor"
	"lxd/internal/cli/property"
	"lxd/internal/cli/render"
)

// kind is a sort of object with configuration: F is the whole object, P the part that can be changed.
// Its methods make the commands that all such objects share.
type kind[F, P any] struct {
	app *App
	// noun names the sort in texts, words are its arguments in usage lines.
	noun, words string
	// names is how many arguments name an object.
	names int
	// path is the object's URL; the first name has lost its remote.
	path func(names []string) string
	// writable picks the part that can be changed.
	writable func(*F) P
	// settings is the configuration within that part; nil when there is none.
	settings func(*P) *map[string]string
	// targeted says that the object may be specific to a cluster member.
	targeted bool
	// help is the head of the text that edit opens.
	help string
	// newline says that get prints an empty line for a key that is not set.
	newline bool
	// pairs is what set says that it takes; empty means the usual.
	pairs string
	// list completes names.
	list string
}

// object is one object that a command line named.
type object struct {
	server *client.Client
	path   string
}

func (k *kind[F, P]) at(args []string, target string) (object, error) {
	names := slices.Clone(args[:k.names])
	server, name, err := k.app.parse(names[0])
	if err != nil {
		return object{}, err
	}
	names[0] = name
	if slices.Contains(names, "") {
		return object{}, fmt.Errorf("Missing %s name", k.noun)
	}
	if target != "" {
		server = server.OnTarget(target)
	}
	return object{server, k.path(names)}, nil
}

func (o object) read(ctx context.Context, out any) (etag string, err error) {
	return o.server.Get(ctx, o.path, out)
}

func (k *kind[F, P]) command(s spec) *cobra.Command {
	if s.complete == nil && k.list != "" {
		s.complete = k.app.completeNames(k.list)
	}
	return k.app.leaf(s)
}

func (k *kind[F, P]) target(cmd *cobra.Command) *string {
	var name string
	if k.targeted {
		cmd.Flags().StringVar(&name, "target", "", "Cluster member name``")
	}
	return &name
}

func (k *kind[F, P]) show() *cobra.Command {
	var target *string
	cmd := k.command(spec{use: "show " + k.words, short: "Show " + k.noun + " configurations", least: k.names, most: k.names,
		run: func(args []string) error {
			o, err := k.at(args, *target)
			if err != nil {
				return err
			}
			var full F
			if _, err := o.read(k.app.ctx, &full); err != nil {
				return err
			}
			return render.YAML(k.app.Out, tidy(full))
		}})
	target = k.target(cmd)
	return cmd
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

func (k *kind[F, P]) get() *cobra.Command {
	var target *string
	var property bool
	cmd := k.command(spec{use: "get " + k.words + " <key>", short: "Get values for " + k.noun + " configuration keys", least: k.names + 1, most: k.names + 1,
		run: func(args []string) error {
			o, err := k.at(args, *target)
			if err != nil {
				return err
			}
			var full F
			if _, err := o.read(k.app.ctx, &full); err != nil {
				return err
			}
			value, err := k.value(&full, args[k.names], property)
			if err == nil && (value != "" || k.newline) {
				k.app.printf("%s\n", value)
			}
			return err
		}})
	target = k.target(cmd)
	cmd.Flags().BoolVarP(&property, "property", "p", false, "Get the key as a property of the "+k.noun)
	return cmd
}

func (k *kind[F, P]) value(full *F, key string, asProperty bool) (string, error) {
	put := k.writable(full)
	if asProperty {
		return property.Read(&put, key)
	}
	return (*k.settings(&put))[key], nil
}

func (k *kind[F, P]) set() *cobra.Command {
	var target *string
	var property bool
	cmd := k.command(spec{use: "set " + k.words + " " + cmp.Or(k.pairs, "<key>=<value>..."), short: "Set " + k.noun + " configuration keys", least: k.names + 1, most: -1,
		long: "Set " + k.noun + " configuration keys\n\nA single key may also be given in two arguments: <key> <value>",
		run: func(args []string) error {
			changes, err := k.app.assignments(args[k.names:])
			if err != nil {
				return err
			}
			return k.change(args, *target, changes, property)
		}})
	target = k.target(cmd)
	cmd.Flags().BoolVarP(&property, "property", "p", false, "Set the key as a property of the "+k.noun)
	return cmd
}

func (k *kind[F, P]) unset() *cobra.Command {
	var target *string
	var property bool
	cmd := k.command(spec{use: "unset " + k.words + " <key>", short: "Unset " + k.noun + " configuration keys", least: k.names + 1, most: k.names + 1,
		run: func(args []string) error {
			return k.change(args, *target, map[string]string{args[k.names]: ""}, property)
		}})
	target = k.target(cmd)
	cmd.Flags().BoolVarP(&property, "property", "p", false, "Unset the key as a property of the "+k.noun)
	return cmd
}

// change applies changes to the configuration, or to the properties, of the object that args name.
func (k *kind[F, P]) change(args []string, target string, changes map[string]string, asProperty bool) error {
	return k.update(args, target, func(p *P) error {
		if asProperty {
			return property.Write(p, changes)
		}
		settings := k.settings(p)
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

// update reads the object, lets edit change it and writes it back unless somebody else was faster.
func (k *kind[F, P]) update(args []string, target string, edit func(*P) error) error {
	o, err := k.at(args, target)
	if err != nil {
		return err
	}
	var full F
	etag, err := o.read(k.app.ctx, &full)
	if err != nil {
		return err
	}
	p := k.writable(&full)
	if err := edit(&p); err != nil {
		return err
	}
	return o.server.Apply(k.app.ctx, http.MethodPut, o.path, p, etag)
}

func (k *kind[F, P]) edit() *cobra.Command {
	target := new(string)
	name := strings.Fields(k.words)[0]
	cmd := k.command(spec{use: "edit " + k.words, short: "Edit " + k.noun + " configurations as YAML", least: k.names, most: k.names,
		example: "lxc " + k.noun + " edit " + name + " < " + k.noun + ".yaml\n    Replace the configuration by the content of a file",
		run:     func(args []string) error { return k.editObject(args, *target) }})
	if k.names > 1 { // pools and networks are edited as a whole
		target = k.target(cmd)
	}
	return cmd
}

func (k *kind[F, P]) editObject(args []string, target string) error {
	o, err := k.at(args, target)
	if err != nil {
		return err
	}
	save := func(text []byte, etag string) error {
		var p P
		if err := yaml.Unmarshal(text, &p); err != nil {
			return err
		}
		return o.server.Apply(k.app.ctx, http.MethodPut, o.path, p, etag)
	}
	if piped, err := k.app.readIn(); err != nil || len(piped) > 0 {
		if err != nil {
			return err
		}
		return save(piped, "")
	}
	var full F
	etag, err := o.read(k.app.ctx, &full)
	if err != nil {
		return err
	}
	return k.app.editYAML(k.help, tidy(full), func(text []byte) error { return save(text, etag) })
}

// delete makes the command that deletes an object and says what it did.
func (k *kind[F, P]) delete(short, done string) *cobra.Command {
	return k.command(spec{use: "delete " + k.words, aliases: []string{"rm"}, short: short, least: k.names, most: k.names,
		run: func(args []string) error {
			o, err := k.at(args, "")
			if err != nil {
				return err
			}
			if err := o.server.Apply(k.app.ctx, remove, o.path, nil, ""); err != nil {
				return err
			}
			k.app.say(done, client.Base(o.path))
			return nil
		}})
}

// rename makes the command that gives an object another name and says so.
func (k *kind[F, P]) rename(short, done string) *cobra.Command {
	return k.command(spec{use: "rename " + k.words + " <new-name>", aliases: []string{"mv"}, short: short, least: k.names + 1, most: k.names + 1,
		run: func(args []string) error {
			o, err := k.at(args, "")
			if err != nil {
				return err
			}
			name := args[k.names]
			if err := o.server.Apply(k.app.ctx, post, o.path, map[string]string{"name": name}, ""); err != nil {
				return err
			}
			k.app.say(done, client.Base(o.path), name)
			return nil
		}})
}

// assignments parses what follows the name in a set command: pairs with an equals sign, or one key and one value.
// The value "-" is read from standard input.
func (a *App) assignments(args []string) (map[string]string, error) {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		args = []string{args[0] + "=" + args[1]}
	}
	out := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("Invalid key=value configuration: %s", arg)
		}
		if value == "-" {
			data, err := io.ReadAll(a.In)
			if err != nil {
				return nil, fmt.Errorf("reading the value of %s: %w", key, err)
			}
			value = string(data)
		}
		out[key] = value
	}
	return out, nil
}

// editYAML lets the user edit v, headed by help, and saves the result. A text that is refused is offered again.
func (a *App) editYAML(help string, v any, save func([]byte) error) error {
	var text bytes.Buffer
	text.WriteString(comment(help))
	if err := render.YAML(&text, v); err != nil {
		return err
	}
	content := text.Bytes()
	for {
		edited, err := editor.Open(a.ctx, editor.Streams{In: a.In, Out: a.Out, Err: a.Err}, content)
		if err != nil {
			return err
		}
		err = save(edited)
		if err == nil || !a.interactive() {
			return err
		}
		fmt.Fprintf(a.Err, "Config parsing error: %v\n", err)
		if _, err := a.ask("Press enter to open the editor again or ctrl+c to abort change\n"); err != nil {
			return err
		}
		content = edited
	}
}

// comment is help as comment lines in front of a document.
func comment(help string) string {
	if help == "" {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(help), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight("### "+line, " ")
	}
	return strings.Join(lines, "\n") + "\n\n"
}
