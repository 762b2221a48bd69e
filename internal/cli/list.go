package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
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

func listCommand(a *App) *cobra.Command {
	var f listFlags
	cmd := a.leaf(spec{use: "list [<remote>:] [<filter>...]", aliases: []string{"ls"}, short: "List instances", long: listHelp, most: -1,
		example: "lxc list -c nFs46,volatile.eth0.hwaddr:MAC,config:image.os,devices:eth0.parent:ETHP\n    Show columns made from configuration and device keys\n\n" +
			"lxc list type=container status=running\n    Show running containers only",
		complete: a.completeNames("instances"),
		run:      func(args []string) error { return a.listInstances(args, f) }})
	cmd.Flags().StringVarP(&f.columns, "columns", "c", listColumns, "Columns``")
	cmd.Flags().StringVarP(&f.shape, "format", "f", "table", "Format ("+render.Formats+")``")
	cmd.Flags().BoolVar(&f.all, "all-projects", false, "Display instances from all projects")
	cmd.Flags().BoolVar(&f.fast, "fast", false, "Fast mode (same as --columns="+fastListColumns+")")
	return cmd
}

func (a *App) listInstances(args []string, f listFlags) error {
	asRows, err := render.Rows(f.shape)
	if err != nil {
		return err
	}
	server, filters, err := a.listArgs(args)
	if err != nil {
		return err
	}
	match, err := listing.NewMatcher(filters)
	if err != nil {
		return err
	}
	info, err := server.Server(a.ctx)
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
	path := want.Path(hasExtension(info, "instances_state_selective_recursion"))
	if f.all {
		path = query(path, "all-projects", "true")
	}
	answer, err := server.Do(a.ctx, client.Request{Method: get, Path: path})
	if err != nil {
		return err
	}
	instances, err := want.Decode(answer.Metadata)
	if err != nil {
		return err
	}
	instances = slices.DeleteFunc(instances, func(i api.InstanceFull) bool { return !match.Matches(&i) })
	header, rows := listing.LayOut(cols, instances)
	return a.list(f.shape, header, rows, instances)
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

// listArgs tells the remote in front of the filters from the filters.
func (a *App) listArgs(args []string) (*client.Client, []string, error) {
	if len(args) == 0 || !strings.Contains(args[0], ":") || strings.Contains(args[0], "=") {
		server, _, err := a.parse("")
		return server, args, err
	}
	server, first, err := a.parse(args[0])
	if first == "" {
		return server, args[1:], err
	}
	return server, append([]string{first}, args[1:]...), err
}
