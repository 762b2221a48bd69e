// Package auth is the branch "lxc auth": who may call a server, and what each may do.
package auth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/internal/cli/command"
)

// Command is the branch "lxc auth".
func Command(a *command.App) *cobra.Command {
	return command.Branch("auth", "Manage user authorization", groupCommand(a), identityCommand(a), providerCommand(a), sessionCommand(a), permissionCommand(a))
}

// alias gives a branch another name too.
func alias(cmd *cobra.Command, name string) *cobra.Command {
	cmd.Aliases = append(cmd.Aliases, name)
	return cmd
}

// using gives a command another usage line.
func using(cmd *cobra.Command, use string) *cobra.Command {
	cmd.Use = use
	return cmd
}

// methods are the words in front of an identity's name, and how such identities prove who they are.
func methods() map[string]string {
	return map[string]string{"tls": "tls", "oidc": "oidc", "bearer": "bearer", "devlxd": "bearer"}
}

// who splits "type/name" into the way that an identity proves itself and its name.
func who(arg string) (method, name string, err error) {
	kind, name, ok := strings.Cut(arg, "/")
	method = methods()[kind]
	if !ok || name == "" || method == "" {
		return "", "", fmt.Errorf("%q is no identity: write its type and its name, as in tls/laptop, oidc/ann@example.net, bearer/deploy or devlxd/guest", arg)
	}
	return method, name, nil
}

// join adds a group to a list of groups, or leaves it.
func join(in []string, group string) ([]string, error) {
	if slices.Contains(in, group) {
		return nil, fmt.Errorf("It is in group %q already", group)
	}
	return append(in, group), nil
}

// leave takes a group out of a list of groups.
func leave(in []string, group string) ([]string, error) {
	i := slices.Index(in, group)
	if i < 0 {
		return nil, fmt.Errorf("It is not in group %q; it is in: %s", group, cmp.Or(strings.Join(in, ", "), "none"))
	}
	return slices.Delete(in, i, i+1), nil
}

// lines are the words of a list, below each other in one cell.
func lines(words []string) string {
	words = slices.Clone(words)
	slices.Sort(words)
	return strings.Join(words, "\n")
}

// pairs parses key=value arguments whose keys are among those allowed.
func pairs(args []string, allowed ...string) (map[string]string, error) {
	out, err := command.KeyValues(args)
	if err != nil {
		return nil, err
	}
	for key := range out {
		if len(allowed) == 0 {
			return nil, errors.New("Nothing can follow the entitlement here: " + key + " does not belong to this type of entity")
		}
		if !slices.Contains(allowed, key) {
			return nil, fmt.Errorf("%q does not belong here; there are: %s", key, strings.Join(allowed, ", "))
		}
	}
	return out, nil
}
