package command

import (
	"net/http"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// Creation is how an object of one kind is made; P is the part of it that can be changed later.
type Creation[P any] struct {
	// Short says what is made, Example shows how.
	Short, Example string
	// Words are further arguments after the name, Extra is how many these are.
	Words string
	Extra int
	// Pairs says that key=value arguments follow.
	Pairs bool
	// Piped says that the configuration may come from standard input, as YAML.
	Piped bool
	// Title is the noun at the beginning of a sentence; empty says nothing at the end.
	Title string
	// Body makes what is sent from the last name, the further arguments and the configuration.
	Body func(name string, extra []string, config P) (any, error)
}

// Create makes the command that makes an object of the kind.
func (k *Kind[F, P]) Create(c Creation[P]) *cobra.Command {
	var target *string
	use := strings.Join(strings.Fields("create "+k.Words+" "+c.Words), " ")
	least := k.Names + c.Extra
	most := least
	if c.Pairs {
		use, most = use+" [key=value...]", -1
	}
	cmd := k.App.Leaf(Leaf{Use: use, Short: c.Short, Example: c.Example, Least: least, Most: most,
		Run: func(args []string) error { return k.create(args, c, *target) }})
	target = k.target(cmd)
	return cmd
}

func (k *Kind[F, P]) create(args []string, c Creation[P], target string) error {
	o, err := k.At(args, target)
	if err != nil {
		return err
	}
	var config P
	if c.Piped {
		piped, err := k.App.ReadIn()
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(piped, &config); err != nil {
			return err
		}
	}
	if c.Pairs {
		if err := k.addPairs(&config, args[k.Names+c.Extra:]); err != nil {
			return err
		}
	}
	name := args[k.Names-1]
	if k.Names == 1 {
		name = Plain(name)
	}
	body, err := c.Body(name, args[k.Names:k.Names+c.Extra], config)
	if err != nil {
		return err
	}
	if err := o.Server.Apply(k.App.Ctx, http.MethodPost, path.Dir(o.Path), body, ""); err != nil {
		return err
	}
	if c.Title != "" {
		k.App.SayCreated(c.Title, name, target)
	}
	return nil
}

// addPairs adds arguments of the form key=value to the configuration.
func (k *Kind[F, P]) addPairs(config *P, args []string) error {
	pairs, err := KeyValues(args)
	if err != nil {
		return err
	}
	settings := k.Settings(config)
	if *settings == nil {
		*settings = pairs
		return nil
	}
	for key, value := range pairs {
		(*settings)[key] = value
	}
	return nil
}
