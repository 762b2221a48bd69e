// Package warning is the branch "lxc warning".
package warning

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// The states of a warning that matter here.
const (
	acknowledged = "acknowledged"
	resolved     = "resolved"
)

const listHelp = `List warnings

Those that are resolved are left out, unless all are asked for.

Columns:
  c - Count
  l - Last seen
  L - Location
  f - First seen
  p - Project
  s - Severity
  S - Status
  u - UUID
  t - Type`

// kind is what warnings are to the commands that all objects share.
type kind = command.Kind[api.Warning, api.WarningPut]

// Command is the branch "lxc warning".
func Command(a *command.App) *cobra.Command {
	k := &kind{
		App: a, Noun: "warning", Words: "[<remote>:]<warning-uuid>", Names: 1,
		Path:     func(n []string) string { return client.Path("warnings", n[0]) },
		Writable: func(w *api.Warning) api.WarningPut { return w.Writable() },
	}
	show := k.Show()
	show.Short, show.Long = "Show warning", "Show warning"
	return command.Branch("warning", "Manage warnings", acknowledge(k), remove(k), list(k), show)
}

func acknowledge(k *kind) *cobra.Command {
	return k.App.Leaf(command.Leaf{Use: "acknowledge [<remote>:]<warning-uuid>", Aliases: []string{"ack"}, Short: "Acknowledge warning", Least: 1, Most: 1,
		Run: func(args []string) error {
			return k.Update(args, "", func(p *api.WarningPut) error {
				p.Status = acknowledged
				return nil
			})
		}})
}

func remove(k *kind) *cobra.Command {
	a := k.App
	var all bool
	cmd := k.App.Leaf(command.Leaf{Use: "delete [<remote>:][<warning-uuid>]", Aliases: []string{"rm"}, Short: "Delete warnings", Most: 1,
		Run: func(args []string) error {
			server, id, err := a.RemoteArg(args, 0)
			switch {
			case err != nil:
				return err
			case all && id != "":
				return errors.New("Both --all and warning UUID given")
			case all:
				return removeAll(a, server)
			case id == "":
				return errors.New("Specify a warning UUID or use --all")
			}
			return server.Apply(a.Ctx, http.MethodDelete, client.Path("warnings", id), nil, "")
		}})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Delete all warnings")
	return cmd
}

func removeAll(a *command.App, server *client.Client) error {
	ids, err := server.Names(a.Ctx, "/1.0/warnings")
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := server.Apply(a.Ctx, http.MethodDelete, client.Path("warnings", id), nil, "")
		if err != nil && !client.IsNotFound(err) { // somebody else may be tidying up too
			return err
		}
	}
	return nil
}

func list(k *kind) *cobra.Command {
	var all bool
	cmd := k.List(command.Listing[api.Warning]{Short: "List warnings", Long: listHelp, Letters: "utSscpLl", Choose: true,
		Keep: func(w api.Warning) bool { return all || w.Status != resolved },
		Adapt: func(letters string, items []api.Warning) string {
			if command.Clustered(items, func(w *api.Warning) string { return w.Location }) {
				return letters
			}
			return "utSscpl"
		},
		Columns: []command.Column[api.Warning]{
			command.Col('u', "UUID", func(w *api.Warning) string { return w.UUID }),
			command.Col('t', "TYPE", func(w *api.Warning) string { return w.Type }),
			command.Col('S', "STATUS", func(w *api.Warning) string { return w.Status }),
			command.Col('s', "SEVERITY", func(w *api.Warning) string { return w.Severity }),
			command.Col('c', "COUNT", func(w *api.Warning) string { return strconv.FormatInt(w.Count, 10) }),
			command.Col('p', "PROJECT", func(w *api.Warning) string { return w.Project }),
			command.Col('L', "LOCATION", func(w *api.Warning) string { return w.Location }),
			command.Col('f', "FIRST SEEN", func(w *api.Warning) string { return render.Time(w.FirstSeenAt) }),
			command.Col('l', "LAST SEEN", func(w *api.Warning) string { return render.Time(w.LastSeenAt) }),
		}})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "List all warnings")
	return cmd
}
