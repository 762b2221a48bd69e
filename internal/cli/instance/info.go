package instance

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
	"lxd/internal/cli/resource"
)

// infoFlags are the flags of info.
type infoFlags struct {
	resources, log bool
	target         string
}

// Info shows what an instance or a server is and does.
func Info(a *command.App) *cobra.Command {
	var f infoFlags
	cmd := a.Leaf(command.Leaf{Use: "info [<remote>:][<instance>]", Short: "Show instance or server information", Most: 1,
		Example: "lxc info c1 --show-log\n    Show an instance and its log\n\nlxc info --resources\n    Show what the server's hardware has",
		Run: func(args []string) error {
			server, name, err := a.RemoteArg(args, 0)
			if err != nil {
				return err
			}
			switch {
			case name != "":
				return infoInstance(a, server, name, f)
			case f.resources:
				var r api.Resources
				if _, err := server.OnTarget(f.target).Get(a.Ctx, "/1.0/resources", &r); err != nil {
					return err
				}
				resource.Print(a.Out, &r)
				return nil
			}
			info, err := server.OnTarget(f.target).Server(a.Ctx)
			if err != nil {
				return err
			}
			return render.YAML(a.Out, info)
		}})
	cmd.Flags().BoolVar(&f.resources, "resources", false, "Show the resources available to the server")
	cmd.Flags().BoolVar(&f.log, "show-log", false, "Show the instance's recent log entries")
	cmd.Flags().StringVar(&f.target, "target", "", "Cluster member name``")
	return cmd
}

func infoInstance(a *command.App, server *client.Client, name string, f infoFlags) error {
	if f.target != "" {
		return fmt.Errorf("--target cannot be used with instances")
	}
	var inst api.InstanceFull
	if _, err := server.Get(a.Ctx, command.Recursive(client.Path("instances", name)), &inst); err != nil {
		return err
	}
	printInstance(a, &inst)
	if inst.State != nil && inst.State.Pid != 0 {
		printUsage(a, inst.State)
	}
	printSnapshots(a, inst.Snapshots)
	printBackups(a, inst.Backups)
	if !f.log {
		return nil
	}
	return printLog(a, server, &inst)
}

func printInstance(a *command.App, i *api.InstanceFull) {
	a.Printf("Name: %s\n", i.Name)
	if i.Description != "" {
		a.Printf("Description: %s\n", i.Description)
	}
	a.Printf("Status: %s\nType: %s", strings.ToUpper(i.Status), i.Type)
	if i.Ephemeral {
		a.Printf(" (ephemeral)")
	}
	a.Printf("\nArchitecture: %s\n", i.Architecture)
	if i.Location != "" && i.Location != "none" {
		a.Printf("Location: %s\n", i.Location)
	}
	if i.State != nil && i.State.Pid != 0 {
		a.Printf("PID: %d\n", i.State.Pid)
	}
	if render.Set(i.CreatedAt) {
		a.Printf("Created: %s\n", render.Time(i.CreatedAt))
	}
	if render.Set(i.LastUsedAt) {
		a.Printf("Last Used: %s\n", render.Time(i.LastUsedAt))
	}
}

// part prints a heading and lines below it, and nothing when there are no lines.
func part(a *command.App, heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	a.Printf("%s\n", heading)
	for _, line := range lines {
		a.Printf("%s\n", line)
	}
}

func printUsage(a *command.App, s *api.InstanceState) {
	a.Printf("\nResources:\n  Processes: %d\n", s.Processes)
	var disks []string
	for _, name := range slices.Sorted(maps.Keys(s.Disk)) {
		if d := s.Disk[name]; d.Usage > 0 {
			disks = append(disks, fmt.Sprintf("    %s: %s", name, render.Size(d.Usage, 2)))
		}
	}
	part(a, "  Disk usage:", disks)
	if s.CPU.Usage != 0 {
		a.Printf("  CPU usage:\n    CPU usage (in seconds): %d\n", s.CPU.Usage/1e9)
	}
	var memory []string
	for _, m := range []struct {
		title string
		n     int64
	}{{"current", s.Memory.Usage}, {"peak", s.Memory.UsagePeak}} {
		if m.n != 0 {
			memory = append(memory, fmt.Sprintf("    Memory (%s): %s", m.title, render.Size(m.n, 2)))
		}
	}
	if s.Memory.SwapUsage != 0 {
		memory = append(memory, fmt.Sprintf("    Swap (current): %s", render.Size(s.Memory.SwapUsage, 2)))
	}
	if s.Memory.SwapUsagePeak != 0 {
		memory = append(memory, fmt.Sprintf("    Swap (peak): %s", render.Size(s.Memory.SwapUsagePeak, 2)))
	}
	part(a, "  Memory usage:", memory)
	var nics []string
	for _, name := range slices.Sorted(maps.Keys(s.Network)) {
		n := s.Network[name]
		nics = append(nics, nicLines(name, &n)...)
	}
	part(a, "  Network usage:", nics)
}

func nicLines(name string, n *api.InstanceStateNetwork) []string {
	out := []string{"    " + name + ":", "      Type: " + n.Type, "      State: " + strings.ToUpper(n.State)}
	if n.HostName != "" {
		out = append(out, "      Host interface: "+n.HostName)
	}
	if n.Hwaddr != "" {
		out = append(out, "      MAC address: "+n.Hwaddr)
	}
	if n.Mtu != 0 {
		out = append(out, fmt.Sprintf("      MTU: %d", n.Mtu))
	}
	c := n.Counters
	out = append(out, "      Bytes received: "+render.SizeDecimal(c.BytesReceived, 2), "      Bytes sent: "+render.SizeDecimal(c.BytesSent, 2),
		fmt.Sprintf("      Packets received: %d", c.PacketsReceived), fmt.Sprintf("      Packets sent: %d", c.PacketsSent), "      IP addresses:")
	for _, ip := range n.Addresses {
		out = append(out, fmt.Sprintf("        %-6s %s/%s (%s)", ip.Family+":", ip.Address, ip.Netmask, ip.Scope))
	}
	return out
}

func printSnapshots(a *command.App, snapshots []api.InstanceSnapshot) {
	if len(snapshots) == 0 {
		return
	}
	rows := make([][]string, len(snapshots))
	for i, s := range snapshots {
		rows[i] = []string{client.Base(s.Name), render.Time(s.CreatedAt), render.Time(s.ExpiresAt), command.YesNo(s.Stateful)}
	}
	a.Printf("\nSnapshots:\n")
	a.Table([]string{"NAME", "TAKEN AT", "EXPIRES AT", "STATEFUL"}, rows)
}

func printBackups(a *command.App, backups []api.InstanceBackup) {
	if len(backups) == 0 {
		return
	}
	rows := make([][]string, len(backups))
	for i, b := range backups {
		rows[i] = []string{b.Name, render.Time(b.CreatedAt), render.Time(b.ExpiresAt), command.YesNo(b.InstanceOnly), command.YesNo(b.OptimizedStorage)}
	}
	a.Printf("\nBackups:\n")
	a.Table([]string{"NAME", "TAKEN AT", "EXPIRES AT", "INSTANCE ONLY", "OPTIMIZED STORAGE"}, rows)
}

func printLog(a *command.App, server *client.Client, i *api.InstanceFull) error {
	file := "lxc.log"
	if i.Type == string(api.InstanceTypeVirtualMachine) {
		file = "qemu.log"
	}
	answer, err := server.Open(a.Ctx, client.Request{Method: http.MethodGet, Path: client.Path("instances", i.Name, "logs", file)})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("reading the log of %s: the server has no %s (HTTP status %d)", i.Name, file, answer.StatusCode)
	}
	a.Printf("\nLog:\n\n%s\n", text)
	return nil
}
