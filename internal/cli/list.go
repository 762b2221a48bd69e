package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
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
	match, err := newMatcher(filters)
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
	want := match.needs()
	for _, c := range cols {
		want |= c.needs
	}
	if !asRows {
		want = needAll
	}
	instances, err := a.fetchInstances(server, want, f.all, hasExtension(info, "instances_state_selective_recursion"))
	if err != nil {
		return err
	}
	instances = slices.DeleteFunc(instances, func(i api.InstanceFull) bool { return !match.matches(&i) })
	header, rows := make([]string, len(cols)), make([][]string, len(instances))
	for i, c := range cols {
		header[i] = c.title
	}
	for i := range instances {
		rows[i] = make([]string, len(cols))
		for n, c := range cols {
			rows[i][n] = c.text(&instances[i])
		}
	}
	return a.list(f.shape, header, rows, instances)
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

// need says which parts of instances a list is made from, so that no more is fetched and decoded.
type need uint8

const (
	needObject  need = 1 << iota // more of the instance than the few fields that the usual columns show
	needState                    // the cheap parts of the state, or the number of snapshots
	needDisk                     // state.disk
	needNetwork                  // state.network
	needAll     = needObject | needState | needDisk | needNetwork
)

// path is the request that fetches what is needed. Servers that cannot leave parts of the state out are asked for all of it.
func (n need) path(selective bool) string {
	if n&^needObject == 0 {
		return recursive("/1.0/instances")
	}
	level := "2"
	if selective && n != needAll {
		var fields []string
		if n&needDisk != 0 {
			fields = append(fields, "state.disk")
		}
		if n&needNetwork != 0 {
			fields = append(fields, "state.network")
		}
		level += ";fields=" + strings.Join(fields, ",")
	}
	return query("/1.0/instances", "recursion", level)
}

// slimInstance is what the usual columns show of an instance. Decoding only that takes a fraction of the time.
type slimInstance struct {
	Name       string         `json:"name"`
	Status     string         `json:"status"`
	StatusCode api.StatusCode `json:"status_code"`
	Location   string         `json:"location"`
	Type       string         `json:"type"`
	Project    string         `json:"project"`
	Ephemeral  bool           `json:"ephemeral"`
	Snapshots  []struct{}     `json:"snapshots"`
	State      *struct {
		Network map[string]api.InstanceStateNetwork `json:"network"`
	} `json:"state"`
}

func (s *slimInstance) full() api.InstanceFull {
	out := api.InstanceFull{Instance: api.Instance{Name: s.Name, Status: s.Status, StatusCode: s.StatusCode, Location: s.Location,
		Type: s.Type, Project: s.Project, Ephemeral: s.Ephemeral}}
	if len(s.Snapshots) > 0 {
		out.Snapshots = make([]api.InstanceSnapshot, len(s.Snapshots))
	}
	if s.State != nil {
		out.State = &api.InstanceState{Network: s.State.Network}
	}
	return out
}

func (a *App) fetchInstances(server *client.Client, want need, all, selective bool) ([]api.InstanceFull, error) {
	path := want.path(selective)
	if all {
		path = query(path, "all-projects", "true")
	}
	answer, err := server.Do(a.ctx, client.Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, err
	}
	if want&(needObject|needDisk) != 0 {
		instances := []api.InstanceFull{}
		err := json.Unmarshal(answer.Metadata, &instances)
		return instances, err
	}
	var slim []slimInstance
	if err := json.Unmarshal(answer.Metadata, &slim); err != nil {
		return nil, fmt.Errorf("the list of instances does not have the expected form: %w", err)
	}
	instances := make([]api.InstanceFull, len(slim))
	for i := range slim {
		instances[i] = slim[i].full()
	}
	return instances, nil
}
