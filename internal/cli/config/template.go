package config

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/editor"
	"lxd/internal/cli/term"
)

// templatePath is where the templates of an instance are, or one of them.
func templatePath(instance, name string) string {
	p := client.Path("instances", instance, "metadata", "templates")
	if name != "" {
		p += "?path=" + url.QueryEscape(name)
	}
	return p
}

func configTemplate(a *command.App) *cobra.Command {
	return command.Branch("template", "Manage instance file templates",
		templateCreate(a), templateDelete(a), templateEdit(a), templateList(a), templateShow(a))
}

func templateCreate(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "create [<remote>:]<instance> <template>", Short: "Create new instance file templates", Least: 2, Most: 2,
		Long: "Create new instance file templates\n\nIf standard input is not a terminal, it becomes the content.",
		Run: func(args []string) error {
			server, instance, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			var content io.Reader = bytes.NewReader(nil)
			if !term.Is(a.In) {
				text, err := a.ReadIn()
				if err != nil {
					return err
				}
				content = bytes.NewReader(text)
			}
			return saveTemplate(a, server, templatePath(instance, args[1]), content)
		}})
}

func saveTemplate(a *command.App, server *client.Client, path string, content io.Reader) error {
	_, err := server.Do(a.Ctx, client.Request{Method: http.MethodPost, Path: path, Body: content})
	return err
}

func templateDelete(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "delete [<remote>:]<instance> <template>", Aliases: []string{"rm"}, Short: "Delete instance file templates", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, instance, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			return server.Apply(a.Ctx, http.MethodDelete, templatePath(instance, args[1]), nil, "")
		}})
}

// readTemplate fetches one template.
func readTemplate(a *command.App, server *client.Client, path string) ([]byte, error) {
	answer, err := server.Open(a.Ctx, client.Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, err := server.Do(a.Ctx, client.Request{Method: http.MethodGet, Path: path}) // the same once more, for what it says of the error
		if err == nil {
			err = fmt.Errorf("the server answers with HTTP status %d", answer.StatusCode)
		}
		return nil, err
	}
	return io.ReadAll(answer.Body)
}

func templateEdit(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "edit [<remote>:]<instance> <template>", Short: "Edit instance file templates", Least: 2, Most: 2,
		Long: "Edit instance file templates\n\nIf standard input is not a terminal, it becomes the new content.",
		Run: func(args []string) error {
			server, instance, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			path := templatePath(instance, args[1])
			if !term.Is(a.In) {
				text, err := a.ReadIn()
				if err != nil {
					return err
				}
				return saveTemplate(a, server, path, bytes.NewReader(text))
			}
			text, err := readTemplate(a, server, path)
			if err != nil {
				return err
			}
			edited, err := editor.Open(a.Ctx, editor.Streams{In: a.In, Out: a.Out, Err: a.Err}, text)
			if err != nil || bytes.Equal(edited, text) {
				return err
			}
			return saveTemplate(a, server, path, bytes.NewReader(edited))
		}})
}

func templateList(a *command.App) *cobra.Command {
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:]<instance>", Short: "List instance file templates", Least: 1, Most: 1,
		Run: func(args []string) error {
			server, instance, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			var names []string
			if _, err := server.Get(a.Ctx, templatePath(instance, ""), &names); err != nil {
				return err
			}
			rows := [][]string{}
			for _, n := range names {
				rows = append(rows, []string{n})
			}
			return a.List(*shape, []string{"FILENAME"}, rows, names)
		}})
	shape = command.Format(cmd)
	return cmd
}

func templateShow(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "show [<remote>:]<instance> <template>", Short: "Show content of instance file templates", Least: 2, Most: 2,
		Run: func(args []string) error {
			server, instance, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			text, err := readTemplate(a, server, templatePath(instance, args[1]))
			if err == nil {
				_, err = a.Out.Write(text)
			}
			return err
		}})
}
