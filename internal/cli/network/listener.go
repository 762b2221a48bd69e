package network

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"

	"github.com/spf13/cobra"

	"lxd/internal/cli/command"
)

// listenWords name what listens on an address of a network.
const listenWords = "[<remote>:]<network> <listen_address>"

// listener is the commands that forwards and load balancers share: both listen on an address of a network, for lists of ports.
type listener[F, P any] struct {
	*command.Kind[F, P]
	// title is the noun at the beginning of a sentence.
	title string
}

// untargeted is the kind without the flag --target.
func (l listener[F, P]) untargeted() *command.Kind[F, P] {
	k := *l.Kind
	k.Targeted = false
	return &k
}

// create makes the command that adds one; body makes what is sent.
func (l listener[F, P]) create(example string, body func(listen string, config map[string]string) any) *cobra.Command {
	var target, allocate string
	cmd := l.App.Leaf(command.Leaf{Use: "create [<remote>:]<network> [<listen_address>] [key=value...]", Short: "Create new " + l.Noun + "s", Example: example,
		Least: 1, Most: -1,
		Run: func(args []string) error {
			listen, rest, err := chosen(args[1:], allocate)
			if err != nil {
				return err
			}
			config, err := command.KeyValues(rest)
			if err != nil {
				return err
			}
			o, err := l.At([]string{args[0], "x"}, target)
			if err != nil {
				return err
			}
			if err := o.Server.Apply(l.App.Ctx, http.MethodPost, path.Dir(o.Path), body(listen, config), ""); err != nil {
				return err
			}
			l.App.Say("%s %s created", l.title, listen)
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	cmd.Flags().StringVar(&allocate, "allocate", "", "Let the server choose an address of this family, ipv4 or ipv6``")
	return cmd
}

// chosen is the address to listen on, which stands first in args unless the server is to choose one, and the arguments after it.
func chosen(args []string, allocate string) (listen string, rest []string, err error) {
	given := len(args) > 0 && !slices.Contains([]byte(args[0]), '=')
	unspecified := map[string]string{"ipv4": "0.0.0.0", "ipv6": "::"}[allocate]
	switch {
	case allocate != "" && unspecified == "":
		return "", nil, fmt.Errorf("Invalid --allocate %q: must be ipv4 or ipv6", allocate)
	case allocate != "" && given:
		return "", nil, errors.New("Cannot specify a listen address together with --allocate")
	case allocate != "":
		return unspecified, args, nil
	case !given:
		return "", nil, errors.New("Must specify a listen address or --allocate=ipv4|ipv6")
	}
	return args[0], args[1:], nil
}

// delete makes the command that removes one.
func (l listener[F, P]) delete() *cobra.Command {
	var target string
	cmd := l.App.Leaf(command.Leaf{Use: "delete " + listenWords, Aliases: []string{"rm"}, Short: "Delete " + l.Noun + "s", Least: 2, Most: 2,
		Run: func(args []string) error {
			o, err := l.At(args, target)
			if err != nil {
				return err
			}
			if err := o.Server.Apply(l.App.Ctx, http.MethodDelete, o.Path, nil, ""); err != nil {
				return err
			}
			l.App.Say("%s %s deleted", l.title, args[1])
			return nil
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

// change makes a command that changes one; leaf lacks what it runs.
func (l listener[F, P]) change(leaf command.Leaf, edit func(args []string, put *P) error) *cobra.Command {
	var target string
	leaf.Run = func(args []string) error {
		return l.Update(args[:2], target, func(put *P) error { return edit(args[2:], put) })
	}
	cmd := l.App.Leaf(leaf)
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

// drop makes the command that removes ports; ports is their list, and identity the protocol and listen ports of one.
func drop[F, P, T any](l listener[F, P], thing string, ports func(*P) *[]T, identity func(T) []string) *cobra.Command {
	var force bool
	cmd := l.change(command.Leaf{Use: "remove " + listenWords + " [<protocol>] [<listen_port(s)>]", Short: "Remove ports from a " + thing, Least: 2, Most: 4},
		func(args []string, put *P) error {
			left, n := without(*ports(put), func(p T) bool { return slices.Equal(identity(p)[:len(args)], args) })
			if n > 1 && !force {
				return errors.New("Multiple ports match. Use --force to remove them all")
			}
			if n == 0 {
				return errors.New("No matching port(s) found")
			}
			*ports(put) = left
			return nil
		})
	cmd.Flags().BoolVar(&force, "force", false, "Remove all ports that match")
	return cmd
}

// without is the list without what matches, and how much that was.
func without[T any](list []T, match func(T) bool) (left []T, n int) {
	left = slices.DeleteFunc(slices.Clone(list), match)
	return left, len(list) - len(left)
}
