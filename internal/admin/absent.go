package admin

import (
	"github.com/spf13/cobra"

	"lxd/internal/errs"
)

// absent makes a command that only says why there is nothing for it to do, and what helps instead.
func absent(use, short, why string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: short + "\n\nIt always fails: " + why + ".", Args: cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error { return errs.Newf(errs.Unsupported, "%s", why) }}
}

func sqlCommand() *cobra.Command {
	c := absent("sql <local|global> <query>", "Query the state database", "there is no SQL database here: the state is in an embedded etcd, which only the daemon opens. "+
		"Read it with \"lxc query\", such as lxc query '/1.0/instances?recursion=2', and print the configuration with \"lxd init --dump\"")
	c.Hidden = true
	c.Flags().StringP("format", "f", "sql", "Format of the answer")
	return c
}

func importCommand() *cobra.Command {
	return absent("import", "Take in an instance (replaced by recover)", "volumes that the database does not know are found with \"lxd recover\", and backups are imported with \"lxc import\"")
}

func clusterCommand() *cobra.Command {
	const alone = "this server is not part of a cluster: it has no other members, and nothing of a cluster to mend"
	quiet := func(c *cobra.Command) *cobra.Command {
		c.Flags().BoolP("quiet", "q", false, "Do not ask for confirmation")
		return c
	}
	listed := absent("list-database", "Show the members that hold the state", alone)
	listed.Aliases = []string{"ls"}
	c := &cobra.Command{Use: "cluster", Short: "Mend a cluster whose members cannot agree", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Usage() }}
	c.AddCommand(absent("edit", "Edit which members hold the state", alone), listed,
		quiet(absent("recover-from-quorum-loss", "Go on with this member alone", alone)),
		quiet(absent("remove-raft-node <address>", "Remove a member from those that hold the state", alone)),
		absent("show", "Show how the members hold the state", alone))
	return c
}
