package instance

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/term"
)

// Export exports instances as backups.
func Export(a *command.App) *cobra.Command {
	var body api.InstanceBackupsPost
	var version string
	cmd := a.Leaf(command.Leaf{Use: "export [<remote>:]<instance> [target] [--instance-only] [--optimized-storage]", Short: "Export instance backups",
		Long: "Export instance backups\n\nThe target is the file to write, - for the standard output; without one the file is called like the\n" +
			"instance, with an extension that tells how it is compressed, and is made here. What was there before is overwritten.",
		Least: 1, Most: 2,
		Example: "lxc export c1\n    Export c1 with its snapshots as c1.tar.gz\n\nlxc export c1 /srv/c1.tar.zst --compression zstd --instance-only\n    Export c1 alone, compressed with zstd",
		Run: func(args []string) error {
			if version != "" {
				var err error
				if body.Version, err = strconv.ParseInt(version, 10, 64); err != nil {
					return fmt.Errorf("Invalid export version %q: it is a number", version)
				}
			}
			return exportInstance(a, args, body)
		}})
	s := cmd.Flags()
	s.BoolVar(&body.InstanceOnly, "instance-only", false, "Whether or not to only backup the instance (without snapshots)")
	s.BoolVar(&body.OptimizedStorage, "optimized-storage", false, "Use storage driver optimized format (can only be restored on a similar pool)")
	s.StringVar(&body.CompressionAlgorithm, "compression", "", "Compression algorithm to use (none for uncompressed)``")
	s.StringVar(&version, "export-version", "", "Version of the backup's format``")
	return cmd
}

func exportInstance(a *command.App, args []string, body api.InstanceBackupsPost) error {
	server, name, err := a.Parse(args[0])
	if err != nil {
		return err
	}
	if name == "" {
		return errors.New("Missing instance name")
	}
	target := ""
	if len(args) > 1 {
		target = args[1]
	}
	body.ContainerOnly, body.ExpiresAt = body.InstanceOnly, time.Now().Add(24*time.Hour)
	line := &term.Progress{}
	if !a.Flags.Quiet && term.Is(a.Err) {
		line.Out = a.Err
	}
	defer line.Clear()
	follow := func(op *client.Operation) error {
		_, err := a.Follow(server, "Backing up instance: ", func() (*client.Operation, error) { return op, nil })
		return err
	}
	err = server.ExportInstance(a.Ctx, name, body, follow, func(r io.Reader, _ int64) error {
		return command.SaveBackup(a, line.Through(r, "Exporting the backup"), target, name)
	})
	if err != nil || target == "-" {
		return err
	}
	line.Clear()
	a.Say("Backup exported successfully!")
	return nil
}

// Import imports instances from backups.
func Import(a *command.App) *cobra.Command {
	var pool string
	var devices []string
	cmd := a.Leaf(command.Leaf{Use: "import [<remote>:] <backup file> [<instance name>]", Short: "Import instance backups",
		Long:  "Import instance backups\n\nThe file - is the standard input. A backup is unpacked while it is sent.",
		Least: 1, Most: 3,
		Example: "lxc import c1.tar.gz\n    Make the instance that the backup is of\n\nlxc import c1.tar.gz c2 --storage fast\n    Make it as c2 in another storage pool",
		Run:     func(args []string) error { return importInstance(a, args, pool, devices) }})
	cmd.Flags().StringVarP(&pool, "storage", "s", "", "Storage pool name``")
	cmd.Flags().StringArrayVarP(&devices, "device", "d", nil, "New key/value to apply to a specific device``")
	return cmd
}

func importInstance(a *command.App, args []string, pool string, devices []string) error {
	remote := ""
	if strings.HasSuffix(args[0], ":") && len(args) > 1 {
		remote, args = args[0], args[1:]
	}
	server, rest, err := a.Parse(remote)
	if err != nil {
		return err
	}
	if rest != "" || len(args) > 2 {
		return errors.New("Too many arguments: name a remote, a file and an instance, in this order")
	}
	up := client.BackupUpload{Pool: pool, Body: a.In}
	if len(args) > 1 {
		up.Name = args[1]
	}
	if up.Devices, err = overridden(devices); err != nil {
		return err
	}
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		up.Body = f
	}
	if !a.Flags.Quiet && term.Is(a.Out) {
		line := &term.Progress{Out: a.Out}
		defer line.Clear()
		up.Body = line.Through(up.Body, "Importing instance")
	}
	_, err = a.Follow(server, "Importing instance: ", func() (*client.Operation, error) { return server.ImportInstance(a.Ctx, up) })
	return err
}

// overridden reads "device,key=value,...".
func overridden(texts []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for _, text := range texts {
		device, pairs, ok := strings.Cut(text, ",")
		if !ok {
			return nil, fmt.Errorf("Bad device override syntax, expecting <device>,<key>=<value>: %s", text)
		}
		set, err := command.KeyValues(strings.Split(pairs, ","))
		if err != nil {
			return nil, err
		}
		if out[device] == nil {
			out[device] = map[string]string{}
		}
		for k, v := range set {
			out[device][k] = v
		}
	}
	return out, nil
}
