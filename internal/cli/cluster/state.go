package cluster

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// change is one of the two ways to change the state of a member.
type change struct {
	action, mode string
	force        bool
	question     string
}

func evacuate(k *members) *cobra.Command {
	c := &change{action: "evacuate", question: "Are you sure you want to evacuate cluster member %q? (yes/no): "}
	cmd := stateCommand(k, c, command.Leaf{Use: "evacuate [<remote>:]<member>", Aliases: []string{"evac"}, Short: "Evacuate cluster member"})
	cmd.Flags().StringVar(&c.mode, "action", "", "Force a particular evacuation action: auto, stop, migrate or live-migrate``")
	cmd.Flags().BoolVar(&c.force, "force", false, "Force evacuation without user confirmation")
	return cmd
}

func restore(k *members) *cobra.Command {
	c := &change{action: "restore", question: "Are you sure you want to restore cluster member %q? (yes/no): "}
	cmd := stateCommand(k, c, command.Leaf{Use: "restore [<remote>:]<member>", Short: "Restore cluster member"})
	cmd.Flags().StringVar(&c.mode, "action", "", "Force a particular restore action: skip leaves the instances where they are``")
	cmd.Flags().BoolVar(&c.force, "force", false, "Force restoration without user confirmation")
	return cmd
}

func stateCommand(k *members, c *change, l command.Leaf) *cobra.Command {
	a := k.App
	l.Least, l.Most = 1, 1
	l.Run = func(args []string) error {
		o, err := k.At(args, "")
		if err != nil {
			return err
		}
		if err := confirm(a, c.force, fmt.Sprintf(c.question, client.Base(o.Path))); err != nil {
			return err
		}
		_, err = a.Follow(o.Server, "", func() (*client.Operation, error) {
			return o.Server.Send(a.Ctx, http.MethodPost, o.Path+"/state", api.ClusterMemberStatePost{Action: c.action, Mode: c.mode}, "")
		})
		return err
	}
	return k.App.Leaf(l)
}

func info(k *members) *cobra.Command {
	a := k.App
	return k.App.Leaf(command.Leaf{Use: "info [<remote>:]<member>", Short: "Show useful information about a cluster member", Least: 1, Most: 1,
		Run: func(args []string) error {
			o, err := k.At(args, "")
			if err != nil {
				return err
			}
			var state api.ClusterMemberState
			if _, err := o.Server.Get(a.Ctx, o.Path+"/state", &state); err != nil {
				return err
			}
			return render.YAML(a.Out, state)
		}})
}
