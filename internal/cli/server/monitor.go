package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// monitorFlags are the flags of monitor.
type monitorFlags struct {
	all, pretty  bool
	shape, level string
	types        []string
}

// Monitor shows what happens on a server.
func Monitor(a *command.App) *cobra.Command {
	var f monitorFlags
	cmd := a.Leaf(command.Leaf{Use: "monitor [<remote>:]", Short: "Monitor a local or remote LXD server", Most: 1,
		Long:    "Monitor a local or remote LXD server\n\nWithout --type every kind of event is shown: operation, lifecycle, logging and ovn.",
		Example: "lxc monitor --type=lifecycle\n    Show what happens to instances and the rest\n\nlxc monitor --pretty --type=logging --loglevel=info\n    Follow the log of the server",
		Run:     func(args []string) error { return follow(a, args, f) }})
	cmd.Flags().BoolVar(&f.all, "all-projects", false, "Show events from all projects")
	cmd.Flags().StringVarP(&f.shape, "format", "f", "yaml", "Format (json|pretty|yaml)``")
	cmd.Flags().StringVar(&f.level, "loglevel", "", "Minimum level for log messages (only available when using pretty format)``")
	cmd.Flags().BoolVar(&f.pretty, "pretty", false, "Pretty rendering (short for --format=pretty)")
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "Event type to listen for``")
	return cmd
}

func follow(a *command.App, args []string, f monitorFlags) error {
	if f.pretty {
		f.shape = "pretty"
	}
	if !slices.Contains([]string{"json", "pretty", "yaml"}, f.shape) {
		return fmt.Errorf("Invalid format: %s", f.shape)
	}
	if f.level != "" && f.shape != "pretty" {
		return fmt.Errorf("Log level filtering can only be used with pretty formatting")
	}
	if f.level != "" && severity(f.level) < 0 {
		return fmt.Errorf("Unknown log level %q: there are trace, debug, info, warning and error", f.level)
	}
	server, _, err := a.RemoteArg(args, 0)
	if err != nil {
		return err
	}
	events, err := server.Events(a.Ctx, client.EventFilter{Types: f.types, AllProjects: f.all})
	if err != nil {
		return err
	}
	defer events.Close()
	for a.OutErr() == nil {
		data, err := events.NextRaw()
		if err != nil {
			return fmt.Errorf("the event stream ended: %w", err)
		}
		if err := printEvent(a, data, f); err != nil {
			return err
		}
	}
	return nil
}

func printEvent(a *command.App, data []byte, f monitorFlags) error {
	if f.shape == "pretty" {
		var ev api.Event
		if err := json.Unmarshal(data, &ev); err != nil {
			return err
		}
		if line := prettyEvent(&ev, f.level); line != "" {
			a.Printf("%s\n", line)
		}
		return nil
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if f.shape == "json" {
		if err := render.JSON(a.Out, v); err != nil {
			return err
		}
		a.Printf("\n")
		return nil
	}
	if err := render.YAML(a.Out, v); err != nil {
		return err
	}
	a.Printf("\n\n")
	return nil
}

// levels are the log levels from the least to the most severe, with their other spellings.
var levels = [][]string{{"trace"}, {"debug", "dbug"}, {"info"}, {"warning", "warn"}, {"error", "eror"}}

func severity(level string) int {
	return slices.IndexFunc(levels, func(names []string) bool { return slices.Contains(names, strings.ToLower(level)) })
}

// prettyEvent is ev as a line of a log, or nothing when it is below level.
func prettyEvent(ev *api.Event, level string) string {
	fields := map[string]any{}
	text, own := "", "info"
	switch ev.Type {
	case "logging", "ovn":
		var e api.EventLogging
		_ = json.Unmarshal(ev.Metadata, &e) // a foreign shape shows as an empty message
		text, own = e.Message, e.Level
		for key, value := range e.Context {
			fields[key] = value
		}
	case "lifecycle":
		var e api.EventLifecycle
		_ = json.Unmarshal(ev.Metadata, &e)
		text = fmt.Sprintf("Action: %s, Source: %s", e.Action, e.Source)
		if e.Requestor != nil {
			text += fmt.Sprintf(", Requestor: %s/%s (%s)", e.Requestor.Protocol, e.Requestor.Username, e.Requestor.Address)
		}
		fields = e.Context
	default:
		var e api.Operation
		_ = json.Unmarshal(ev.Metadata, &e)
		text = fmt.Sprintf("ID: %s, Class: %s, Description: %s", e.ID, e.Class, e.Description)
		fields = map[string]any{"CreatedAt": e.CreatedAt, "UpdatedAt": e.UpdatedAt, "Status": e.Status, "StatusCode": e.StatusCode,
			"Resources": e.Resources, "Metadata": e.Metadata, "MayCancel": e.MayCancel, "Err": e.Err, "Location": e.Location}
	}
	if level != "" && severity(own) < severity(level) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "time=%q level=%s msg=%q", ev.Timestamp.Format(time.RFC3339), own, text)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, " %s=%s", key, logValue(fmt.Sprint(fields[key])))
	}
	return b.String()
}

// logValue quotes what could not be told from the next field.
func logValue(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune("\"=[]<>", r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
