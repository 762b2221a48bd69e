package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// Operation is the branch "lxc operation".
func Operation(a *command.App) *cobra.Command {
	return command.Branch("operation", "List, show and delete background operations", operationDelete(a), operationList(a), operationShow(a))
}

func operationDelete(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "delete [<remote>:]<operation>", Aliases: []string{"cancel", "rm"}, Short: "Delete background operations (will attempt to cancel)",
		Least: 1, Most: 1,
		Run: func(args []string) error {
			server, id, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			if err := server.Apply(a.Ctx, http.MethodDelete, client.Path("operations", id), nil, ""); err != nil {
				return err
			}
			a.Say("Operation %s deleted", id)
			return nil
		}})
}

func operationShow(a *command.App) *cobra.Command {
	return a.Leaf(command.Leaf{Use: "show [<remote>:]<operation>", Short: "Show details on a background operation", Least: 1, Most: 1,
		Example: "lxc operation show 344a79e4-d88a-45bf-9c39-c72c26f6ab8a",
		Run: func(args []string) error {
			server, id, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			op, err := server.Operation(a.Ctx, id)
			if err != nil {
				return err
			}
			return render.YAML(a.Out, op.Operation)
		}})
}

func operationList(a *command.App) *cobra.Command {
	var all bool
	var shape *string
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:]", Aliases: []string{"ls"}, Short: "List background operations", Most: 1,
		Run: func(args []string) error {
			server, _, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			path := command.Recursive("/1.0/operations")
			if all {
				path = command.Query(path, "all-projects", "true")
			}
			var byStatus map[string][]api.Operation
			if _, err := server.Get(a.Ctx, path, &byStatus); err != nil {
				return err
			}
			ops := []api.Operation{}
			for _, some := range byStatus {
				ops = append(ops, some...)
			}
			return printOperations(a, ops, *shape)
		}})
	cmd.Flags().BoolVar(&all, "all-projects", false, "List operations from all projects")
	shape = command.Format(cmd)
	return cmd
}

func printOperations(a *command.App, ops []api.Operation, shape string) error {
	letters := "itdsCc"
	if slices.ContainsFunc(ops, func(o api.Operation) bool { return o.Location != "" && o.Location != "none" }) {
		letters += "L"
	}
	cols, err := command.Pick(letters, []command.Column[api.Operation]{
		command.Col('i', "ID", func(o *api.Operation) string { return o.ID }),
		command.Col('t', "TYPE", func(o *api.Operation) string { return strings.ToUpper(o.Class) }),
		command.Col('d', "DESCRIPTION", func(o *api.Operation) string { return o.Description }),
		command.Col('s', "STATUS", func(o *api.Operation) string { return strings.ToUpper(o.Status) }),
		command.Col('C', "CANCELABLE", func(o *api.Operation) string { return command.YesNo(o.MayCancel) }),
		command.Col('c', "CREATED", func(o *api.Operation) string { return render.Time(o.CreatedAt) }),
		command.Col('L', "LOCATION", func(o *api.Operation) string { return o.Location }),
	})
	if err != nil {
		return err
	}
	header, rows := command.LayOut(cols, ops)
	return a.List(shape, header, rows, ops)
}
