package storage

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
)

func volumeExport(a *command.App) *cobra.Command {
	var body api.StoragePoolVolumeBackupsPost
	var target, version string
	cmd := a.Leaf(command.Leaf{Use: "export [<remote>:]<pool> <volume> [<path>]", Short: "Export custom storage volume", Least: 2, Most: 3,
		Long: "Export custom storage volume\n\nThe path is the file to write, - for the standard output; without one the file is called like the\n" +
			"volume, with an extension that tells how it is compressed, and is made here.",
		Example: "lxc storage volume export default data\n    Export the volume data with its snapshots as data.tar.gz",
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			if version != "" {
				if body.Version, err = strconv.ParseInt(version, 10, 64); err != nil {
					return fmt.Errorf("Invalid export version %q: it is a number", version)
				}
			}
			body.ExpiresAt = time.Now().Add(24 * time.Hour)
			server = server.OnTarget(target)
			path := strings.Join(args[2:], "")
			err = server.ExportVolume(a.Ctx, client.VolumeName{Pool: pool, Name: args[1]}, body, func(op *client.Operation) error {
				_, err := a.Follow(server, "Backing up storage volume: ", func() (*client.Operation, error) { return op, nil })
				return err
			}, func(r io.Reader, _ int64) error { return command.SaveBackup(a, r, path, args[1]) })
			if err == nil && path != "-" {
				a.Say("Backup exported successfully!")
			}
			return err
		}})
	s := cmd.Flags()
	s.BoolVar(&body.VolumeOnly, "volume-only", false, "Export the volume without its snapshots")
	s.BoolVar(&body.OptimizedStorage, "optimized-storage", false, "Use storage driver optimized format (can only be restored on a similar pool)")
	s.StringVar(&body.CompressionAlgorithm, "compression", "", "Compression algorithm to use (none for uncompressed)``")
	s.StringVar(&version, "export-version", "", "Version of the backup's format``")
	s.StringVar(&target, "target", "", "Cluster member name``")
	return cmd
}

func volumeImport(a *command.App) *cobra.Command {
	var target, kind string
	cmd := a.Leaf(command.Leaf{Use: "import [<remote>:]<pool> <import file> [<volume name>]", Short: "Import custom storage volumes", Least: 2, Most: 3,
		Long:    "Import custom storage volumes\n\nThe file is a backup, a tar archive of the files that the volume is to hold, or - for the standard input.",
		Example: "lxc storage volume import default data.tar.gz\n    Make the volume that the backup is of\n\nlxc storage volume import default files.tar new --type tar\n    Make a volume that holds the files of an archive",
		Run: func(args []string) error {
			server, pool, err := a.Parse(args[0])
			if err != nil {
				return err
			}
			name := strings.Join(args[2:], "")
			typ, err := importType(kind, args[1], name)
			if err != nil {
				return err
			}
			var in io.Reader = a.In
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			server = server.OnTarget(target)
			_, err = a.Follow(server, "Importing custom volume: ", func() (*client.Operation, error) {
				return server.ImportVolume(a.Ctx, pool, name, typ, in)
			})
			return err
		}})
	cmd.Flags().StringVar(&target, "target", "", "Cluster member name``")
	cmd.Flags().StringVar(&kind, "type", "", "Import type: backup, iso or tar (default \"backup\")``")
	return cmd
}

// importType is what a file is to be taken for.
func importType(kind, file, name string) (string, error) {
	if kind == "" {
		kind = "backup"
		if strings.EqualFold(filepath.Ext(file), ".iso") {
			kind = "iso"
		}
	}
	switch {
	case kind != "backup" && kind != "iso" && kind != "tar":
		return "", fmt.Errorf("Import type %q is unknown: it is backup, iso or tar", kind)
	case kind != "backup" && name == "":
		return "", fmt.Errorf("Name the volume that is to be made of %s", file)
	}
	return kind, nil
}
