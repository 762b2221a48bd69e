package auth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/internal/cli/command"
)

func permissionCommand(a *command.App) *cobra.Command {
	return alias(command.Branch("permission", "Inspect permissions", permissionList(a)), "perm")
}

func permissionList(a *command.App) *cobra.Command {
	var shape *string
	var most int
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:] [project=<project_name>] [entity_type=<entity_type>]", Short: "List permissions", Most: 3,
		Long: `List permissions

Each row is an entity with the entitlements that can be granted on it. Those that are granted come first, with the groups that have
them.`,
		Run: func(args []string) error {
			server, rest, err := a.Filters(args)
			if err != nil {
				return err
			}
			only, err := pairs(rest, "project", "entity_type")
			if err != nil {
				return err
			}
			all, err := server.Permissions(a.Ctx, only["project"], only["entity_type"])
			if err != nil {
				return err
			}
			return a.List(*shape, []string{"ENTITY TYPE", "URL", "ENTITLEMENTS ==> (GROUPS)"}, permissionRows(all, most), all)
		}})
	cmd.Flags().IntVar(&most, "max-entitlements", 3, "How many entitlements that nobody has are shown; 0 shows all``")
	shape = command.Format(cmd)
	return cmd
}

// permissionRows has one row for each entity.
func permissionRows(all []api.PermissionInfo, most int) [][]string {
	type key struct{ kind, url string }
	var order []key
	of := map[key][]api.PermissionInfo{}
	for _, p := range all {
		k := key{p.EntityType, p.EntityReference}
		if of[k] == nil {
			order = append(order, k)
		}
		of[k] = append(of[k], p)
	}
	var rows [][]string
	for _, k := range order {
		rows = append(rows, []string{k.kind, k.url, entitlements(of[k], most)})
	}
	return rows
}

// entitlements is the cell of one entity: what is granted, then at most so many that are not; 0 is no bound.
func entitlements(of []api.PermissionInfo, most int) string {
	var granted, others []string
	for _, p := range of {
		if len(p.Groups) == 0 {
			others = append(others, p.Entitlement)
			continue
		}
		in := slices.Clone(p.Groups)
		slices.Sort(in)
		granted = append(granted, fmt.Sprintf("%s ==> (%s)", p.Entitlement, strings.Join(in, ", ")))
	}
	if most > 0 && len(others) > most {
		others = append(others[:most], fmt.Sprintf("... %d more", len(others)-most))
	}
	return strings.Join(append(granted, others...), "\n")
}
