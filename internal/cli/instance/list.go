package instance

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/listing"
	"lxd/internal/cli/render"
)

const (
	listColumns     = "ns46tSL"
	fastListColumns = "nsacPt"
)

const listHelp = `List instances

Filters pick what is listed; several of them must all hold:
  web                        names that start with "web"
  web.*01$                   names that match a regular expression
  user.role=db               a configuration key and its value, either of which may be a regular expression
  u.role=db                  the same, with the key abbreviated
  type=container             a shorthand; the others are status, architecture, location, ipv4 and ipv6.
                             Alternatives are separated by commas, ipv4 and ipv6 may be networks.

Columns are letters, or configuration keys, in a list where commas between letters may be left out:
  4 - IPv4 address
  6 - IPv6 address
  a - Architecture
  b - Storage pool
  c - Creation date
  d - Description
  D - Disk usage
  e - Project name
  f - Base Image Fingerprint (short)
  F - Base Image Fingerprint (long)
  l - Last used date
  L - Location of the instance (e.g. its cluster member)
  m - Memory usage
  M - Memory usage (%)
  n - Name
  N - Number of Processes
  p - PID of the instance's init process
  P - Profiles
  s - State
  S - Number of snapshots
  t - Type (persistent or ephemeral)
  u - CPU usage (in seconds)

Other columns are written [config:|devices:]key[:name][:maxWidth]: the expanded configuration or device key, the
title of the column, and how wide it may get (-1: no limit; 0: as wide as the title).

Without -c the columns are ` + listColumns + `, with --fast ` + fastListColumns + `.`

// listFlags are the flags of list.
type listFlags struct {
	columns, shape string
	all, fast      bool
}

// List lists instances.
func List(a *command.App) *cobra.Command {
	var f listFlags
	cmd := a.Leaf(command.Leaf{Use: "list [<remote>:] [<filter>...]", Aliases: []string{"ls"}, Short: "List instances", Long: listHelp, Most: -1,
		Example: "lxc list -c nFs46,volatile.eth0.hwaddr:MAC,config:image.os,devices:eth0.parent:ETHP\n    Show columns made from configuration and device keys\n\n" +
			"lxc list type=container status=running\n    Show running containers only",
		Run: func(args []string) error { return listInstances(a, args, f) }})
	cmd.Flags().StringVarP(&f.columns, "columns", "c", listColumns, "Columns``")
	cmd.Flags().StringVarP(&f.shape, "format", "f", "table", "Format ("+render.Formats+")``")
	cmd.Flags().BoolVar(&f.all, "all-projects", false, "Display instances from all projects")
	cmd.Flags().BoolVar(&f.fast, "fast", false, "Fast mode (same as --columns="+fastListColumns+")")
	return cmd
}

func listInstances(a *command.App, args []string, f listFlags) error {
	asRows, err := render.Rows(f.shape)
	if err != nil {
		return err
	}
	server, filters, err := a.Filters(args)
	if err != nil {
		return err
	}
	match, err := listing.NewMatcher(filters)
	if err != nil {
		return err
	}
	info, err := server.Server(a.Ctx)
	if err != nil {
		return err
	}
	cols, err := f.pick(info.Environment.ServerClustered)
	if err != nil {
		return err
	}
	want := match.Needs()
	for _, c := range cols {
		want |= c.Needs
	}
	if !asRows {
		want = listing.NeedAll
	}
	path := want.Path(command.HasExtension(info, "instances_state_selective_recursion"))
	if f.all {
		path = command.Query(path, "all-projects", "true")
	}
	answer, err := server.Do(a.Ctx, client.Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return err
	}
	instances, err := want.Decode(answer.Metadata)
	if err != nil {
		return err
	}
	instances = slices.DeleteFunc(instances, func(i api.InstanceFull) bool { return !match.Matches(&i) })
	header, rows := listing.LayOut(cols, instances)
	return a.List(f.shape, header, rows, instances)
}

// pick finds the columns that the flags ask for.
func (f listFlags) pick(clustered bool) ([]listing.Column, error) {
	columns := f.columns
	if f.fast {
		if columns != listColumns {
			return nil, errors.New("Can't specify --fast with --columns")
		}
		columns = fastListColumns
	}
	if columns == listColumns && !clustered {
		columns = strings.TrimSuffix(columns, "L")
	}
	if f.all && (f.fast || f.columns == listColumns) {
		columns = "e" + columns
	}
	return listing.Pick(columns, clustered)
}
