// Package instance holds the commands for instances, which stand at the first level.
package instance

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/device"
)

// action changes the state of instances; the flags that a command does not have stay zero.
type action struct {
	verb                            string
	all, force, stateful, stateless bool
	console                         string
	timeout                         int
	applies                         func(*api.Instance) bool
}

func stateCommand(a *command.App, act *action, short string, aliases ...string) *cobra.Command {
	name := act.verb
	if name == "freeze" {
		name = "pause"
	}
	cmd := a.Leaf(command.Leaf{Use: name + " [<remote>:]<instance> [[<remote>:]<instance>...]", Aliases: aliases, Short: short, Most: -1})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !act.all {
			return cmd.Usage()
		}
		return changeStates(a, args, *act)
	}
	cmd.Flags().BoolVar(&act.all, "all", false, "Run against all instances")
	return cmd
}

func consoleFlag(cmd *cobra.Command, act *action) {
	cmd.Flags().StringVar(&act.console, "console", "", "Immediately attach to the console``")
	cmd.Flag("console").NoOptDefVal = "console"
}

// Start starts instances.
func Start(a *command.App) *cobra.Command {
	act := &action{verb: "start", timeout: -1, applies: func(i *api.Instance) bool { return !running(i) }}
	cmd := stateCommand(a, act, "Start instances")
	consoleFlag(cmd, act)
	cmd.Flags().BoolVar(&act.stateless, "stateless", false, "Ignore the instance state")
	return cmd
}

// Stop stops instances.
func Stop(a *command.App) *cobra.Command {
	act := &action{verb: "stop", applies: up}
	cmd := stateCommand(a, act, "Stop instances")
	consoleFlag(cmd, act)
	forceFlags(cmd, act)
	cmd.Flags().BoolVar(&act.stateful, "stateful", false, "Store the instance state")
	return cmd
}

// Restart restarts instances.
func Restart(a *command.App) *cobra.Command {
	act := &action{verb: "restart", applies: running}
	cmd := stateCommand(a, act, "Restart instances")
	consoleFlag(cmd, act)
	forceFlags(cmd, act)
	return cmd
}

// Pause freezes instances.
func Pause(a *command.App) *cobra.Command {
	act := &action{verb: "freeze", timeout: -1, applies: running}
	cmd := stateCommand(a, act, "Pause instances", "freeze")
	cmd.Long = "Pause instances\n\nA paused instance goes on where it was with: lxc start"
	return cmd
}

func forceFlags(cmd *cobra.Command, act *action) {
	cmd.Flags().BoolVarP(&act.force, "force", "f", false, "Force the instance to stop")
	cmd.Flags().IntVar(&act.timeout, "timeout", -1, "Time to wait for the instance to shutdown cleanly``")
}

func running(i *api.Instance) bool {
	return i.StatusCode == api.StatusRunning || i.StatusCode == api.StatusReady
}

// up tells whether there is anything to stop.
func up(i *api.Instance) bool { return i.StatusCode != api.StatusStopped }

// checkConsole refuses consoles that cannot be attached to, before anything has been done.
func checkConsole(console string) error {
	switch console {
	case "", "console":
		return nil
	case "vga":
		return errors.New("Graphical consoles are those of virtual machines, which this client cannot show yet: use --console=console")
	}
	return fmt.Errorf("Unknown console type %q", console)
}

func changeStates(a *command.App, args []string, act action) error {
	if err := checkConsole(act.console); err != nil {
		return err
	}
	if act.all {
		var err error
		if args, err = allInstances(a, args, act); err != nil {
			return err
		}
	}
	if act.console != "" && len(args) != 1 {
		return errors.New("--console can be used with one instance only")
	}
	if len(args) == 1 {
		return changeAndWatch(a, args[0], act)
	}
	failures := make([]error, len(args))
	var wg sync.WaitGroup
	if _, _, err := a.Parse(""); err != nil && len(args) == 0 {
		return err
	}
	for i, arg := range args {
		if _, _, err := a.Parse(arg); err != nil { // connections are made one by one, then shared
			failures[i] = err
		}
	}
	quiet := a.Hushed() // several progress lines would overwrite one another
	for i, arg := range args {
		if failures[i] == nil {
			wg.Go(func() { failures[i] = changeState(quiet, arg, act) })
		}
	}
	wg.Wait()
	return summary(a, args, failures, act)
}

// changeAndWatch changes one instance, with its console on this terminal if that is wanted: while it stops, or once it has started.
func changeAndWatch(a *command.App, arg string, act action) error {
	if act.console == "" || act.verb != "stop" {
		err := changeState(a, arg, act)
		if err != nil || act.console == "" {
			return err
		}
		return attachConsole(a, arg, act.console)
	}
	if _, _, err := a.Parse(arg); err != nil {
		return err
	}
	quiet := a.Hushed() // progress would end up between what the console shows
	stopped := make(chan error, 1)
	go func() { stopped <- changeState(quiet, arg, act) }()
	if err := attachConsole(a, arg, act.console); err != nil {
		return errors.Join(err, <-stopped)
	}
	return <-stopped
}

// summary prints what failed, if anything did.
func summary(a *command.App, args []string, failures []error, act action) error {
	failed := false
	for i, err := range failures {
		if err != nil {
			failed = true
			fmt.Fprintf(a.Err, "%s: error: %v\n", args[i], err)
		}
	}
	if !failed {
		return nil
	}
	fmt.Fprintln(a.Err)
	verb := act.verb
	if verb == "freeze" {
		verb = "pause"
	}
	return fmt.Errorf("Some instances failed to %s", verb)
}

// allInstances names every instance that act applies to, on the remotes that args name or the default one.
func allInstances(a *command.App, args []string, act action) ([]string, error) {
	if len(args) == 0 {
		args = []string{""}
	}
	var out []string
	for _, arg := range args {
		server, name, err := a.Parse(arg)
		if err != nil {
			return nil, err
		}
		if name != "" {
			return nil, errors.New("Both --all and instance name given")
		}
		var instances []api.Instance
		if _, err := server.Get(a.Ctx, command.Recursive("/1.0/instances"), &instances); err != nil {
			return nil, err
		}
		for i := range instances {
			if act.applies(&instances[i]) {
				out = append(out, arg+instances[i].Name)
			}
		}
	}
	return out, nil
}

func changeState(a *command.App, arg string, act action) error {
	server, name, err := a.Parse(arg)
	if err != nil {
		return err
	}
	if name == "" {
		return errors.New("Missing instance name")
	}
	body := api.InstanceStatePut{Action: act.verb, Timeout: int64(act.timeout), Force: act.force, Stateful: act.stateful}
	if act.verb == "start" && !act.stateless {
		var inst api.Instance
		if _, err := server.Get(a.Ctx, client.Path("instances", name), &inst); err != nil {
			return err
		}
		body.Stateful = inst.Stateful
	}
	accepted := false
	_, err = a.Follow(server, "", func() (*client.Operation, error) {
		op, err := server.Send(a.Ctx, http.MethodPut, client.Path("instances", name, "state"), body, "")
		accepted = err == nil
		return op, err
	})
	if err != nil && accepted {
		return fmt.Errorf("%w\nTry `lxc info --show-log %s` for more info", err, arg)
	}
	return err
}

// deleteFlags are the flags of delete.
type deleteFlags struct {
	force, interactive bool
	volumes            string
}

// Delete deletes instances and snapshots.
func Delete(a *command.App) *cobra.Command {
	var f deleteFlags
	cmd := a.Leaf(command.Leaf{Use: "delete [<remote>:]<instance>[/<snapshot>] [[<remote>:]<instance>[/<snapshot>]...]", Aliases: []string{"rm"},
		Short: "Delete instances and snapshots", Least: 1, Most: -1,
		Run: func(args []string) error { return deleteAll(a, args, f) }})
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "Force the removal of running instances")
	cmd.Flags().StringVar(&f.volumes, "disk-volumes", "", "Disk volumes mode for snapshots: root or all-exclusive``")
	cmd.Flags().BoolVarP(&f.interactive, "interactive", "i", false, "Require user confirmation")
	return cmd
}

// deleteAll makes sure that everything exists before it deletes anything.
func deleteAll(a *command.App, args []string, f deleteFlags) error {
	found := make([]api.Instance, len(args))
	for i, arg := range args {
		server, name, err := a.Parse(arg)
		if err != nil {
			return err
		}
		if _, err := server.Get(a.Ctx, device.InstancePath([]string{name}), &found[i]); err != nil {
			return fmt.Errorf("Failed checking instance exists \"%s\": %w", a.FullName(arg), err)
		}
	}
	for i, arg := range args {
		if err := deleteOne(a, arg, &found[i], f); err != nil {
			return err
		}
	}
	return nil
}

func deleteOne(a *command.App, arg string, inst *api.Instance, f deleteFlags) error {
	server, name, err := a.Parse(arg)
	if err != nil {
		return err
	}
	if f.interactive {
		answer, err := a.Ask(fmt.Sprintf("Remove %s (yes/no): ", arg))
		if err != nil {
			return err
		}
		if !slices.Contains([]string{"yes", "y"}, strings.ToLower(answer)) {
			return errors.New("User aborted delete operation")
		}
	}
	path := device.InstancePath([]string{name})
	isSnapshot := strings.Contains(name, "/")
	switch {
	case f.volumes != "" && !isSnapshot:
		return errors.New("--disk-volumes is for snapshots: the volumes of an instance stay when it is deleted")
	case f.volumes != "":
		path = command.Query(path, "disk-volumes", f.volumes)
	case !isSnapshot && inst.StatusCode != 0 && up(inst):
		var gone bool
		if path, gone, err = deleteRunning(a, server, inst, f); err != nil || gone {
			return err
		}
	}
	_, err = a.Follow(server, "", func() (*client.Operation, error) { return server.Send(a.Ctx, http.MethodDelete, path, nil, "") })
	return err
}

// deleteRunning makes it possible to delete an instance that runs: by the URL that does so, or by stopping it.
func deleteRunning(a *command.App, server *client.Client, inst *api.Instance, f deleteFlags) (path string, gone bool, err error) {
	name := inst.Name
	path = client.Path("instances", name)
	if !f.force {
		return "", false, errors.New("The instance is currently running, stop it first or pass --force")
	}
	info, err := server.Server(a.Ctx)
	if err != nil {
		return "", false, err
	}
	if command.HasExtension(info, "instance_force_delete") {
		return command.Query(path, "force", "1"), false, nil
	}
	gone, err = stopToDelete(a, server, name, inst)
	return path, gone, err
}

// stopToDelete stops an instance on a server that cannot delete it while it runs. An ephemeral one is gone then.
func stopToDelete(a *command.App, server *client.Client, name string, inst *api.Instance) (gone bool, err error) {
	body := api.InstanceStatePut{Action: "stop", Timeout: -1, Force: true}
	if err := server.Apply(a.Ctx, http.MethodPut, client.Path("instances", name, "state"), body, ""); err != nil {
		return false, fmt.Errorf("Stopping the instance failed: %w", err)
	}
	return inst.Ephemeral, nil
}
