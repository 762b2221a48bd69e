// Package template knows the metadata and the templates that an instance has from its image, and renders them into its files.
//
// Templates come from whoever made the image. They are rendered in a process of its own with little memory and time, by a set that reads no
// files: see Process.
package template

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/flosch/pongo2/v6"
)

// Triggers of templates (wire names).
const (
	Create = "create"
	Copy   = "copy"
	Rename = "rename"
	Start  = "start"
)

// Bounds of what is read and written.
const (
	// maxText is the most that a template may hold, and maxResult what it may make; maxAll is the most of all that one start makes.
	maxText, maxResult, maxAll = 1 << 20, 4 << 20, 16 << 20
)

// Item is one template to render.
type Item struct {
	// Target is the path in the instance; Text is the template.
	Target, Text string
	// Properties are those of the template.
	Properties map[string]string
	// CreateOnly leaves a file alone that is there.
	CreateOnly bool
}

// Job is templates to render for one instance.
type Job struct {
	Trigger string
	// Instance has its name, type, architecture, and whether it is ephemeral and privileged.
	Instance map[string]string
	Config   map[string]string
	Devices  map[string]map[string]string
	Items    []Item
}

// banned are the tags that reach other files, and those that make much of little.
var banned = []string{"include", "ssi", "extends", "import", "macro", "block", "lorem"}

// nothing is a loader that finds no file.
type nothing struct{}

// Abs leaves a name as it is.
func (nothing) Abs(_, name string) string { return name }

// Get finds nothing.
func (nothing) Get(path string) (io.Reader, error) {
	return nil, fmt.Errorf("%s: templates may not read files", path)
}

// Render renders all templates of a job in this process, which has no bounds but the size of the results.
func Render(j Job) ([]string, error) {
	var results []string
	left := maxAll
	for _, item := range j.Items {
		text, err := j.render(item, min(left, maxResult))
		if err != nil {
			return nil, fmt.Errorf("the template of %s: %w", item.Target, err)
		}
		left -= len(text)
		results = append(results, text)
	}
	return results, nil
}

func (j Job) render(item Item, limit int) (text string, err error) {
	defer func() { // the engine is not made for hostile templates
		switch p := recover(); p {
		case nil:
		case errTooLong:
			err = errTooLong
		default:
			err = fmt.Errorf("it cannot be rendered: %v", p)
		}
	}()
	set := pongo2.NewSet("instance", nothing{})
	for _, tag := range banned {
		if err := set.BanTag(tag); err != nil {
			return "", err
		}
	}
	// What is made is no web page, so that nothing is to be escaped.
	t, err := set.FromString("{% autoescape off %}" + item.Text + "{% endautoescape %}")
	if err != nil {
		return "", err
	}
	out := &bounded{limit: limit}
	err = t.ExecuteWriterUnbuffered(j.variables(item), out)
	return out.b.String(), err
}

var errTooLong = fmt.Errorf("it makes more than %d MiB", maxResult>>20)

// variables are what a template can name.
func (j Job) variables(item Item) pongo2.Context {
	return pongo2.Context{
		"trigger": j.Trigger, "path": item.Target, "instance": j.Instance, "container": j.Instance, "config": j.Config, "devices": j.Devices,
		"properties": item.Properties,
		"config_get": func(key, fallback *pongo2.Value) *pongo2.Value {
			if v, ok := j.Config[key.String()]; ok {
				return pongo2.AsValue(strings.TrimRight(v, "\r\n"))
			}
			return pongo2.AsValue(strings.TrimRight(fallback.String(), "\r\n"))
		},
	}
}

// bounded takes so many bytes and no more.
type bounded struct {
	b     bytes.Buffer
	limit int
}

// Write panics once there is too much: the engine goes on after a failure.
func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > w.limit {
		panic(errTooLong)
	}
	return w.b.Write(p)
}
