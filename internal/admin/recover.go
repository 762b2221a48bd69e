package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/internal/errs"
)

// lost is what the daemon found in its pools and does not know.
type lost struct {
	UnknownVolumes []struct {
		Name, Type, Project, Pool string
		SnapshotCount             int
	}
	DependencyErrors []string
}

func (p *Program) recoverCommand() *cobra.Command {
	return &cobra.Command{Use: "recover", Short: "Find instances and volumes that the database does not know", Args: cobra.NoArgs,
		Long: "Find instances and volumes that the database does not know\n\n" +
			"The storage pools that the server has are looked through, and nothing is changed. A pool that the database lost as well has to be\n" +
			"created again before, with the same driver and source, and source.recover=true. Taking in what was found is not possible yet: what is found stays as it is.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := p.Connect()
			if err != nil {
				return err
			}
			return find(c.Context(), s, &interview{in: newLines(c.InOrStdin()), out: c.OutOrStdout()})
		}}
}

func find(ctx context.Context, s Server, q *interview) error {
	var pools []api.StoragePool
	if _, err := s.Get(ctx, "/1.0/storage-pools?recursion=1", &pools); err != nil {
		return err
	}
	if len(pools) == 0 {
		return errs.Newf(errs.NotFound, "there is no storage pool to look through: create the lost ones again with the same driver and source, such as "+
			"lxc storage create default dir source=/srv/lxd source.recover=true")
	}
	var names []api.StoragePoolsPost
	say := "This server has these storage pools:\n"
	for _, p := range pools {
		say += fmt.Sprintf(" - %s (driver: %s, source: %s)\n", p.Name, p.Driver, cmp.Or(p.Config["source"], "its own"))
		names = append(names, api.StoragePoolsPost{Name: p.Name, Driver: p.Driver})
	}
	if err := writeAll(q.out, say); err != nil {
		return err
	}
	look, err := q.yes("Look through them for volumes that the database does not know? Nothing is changed.", true)
	if err != nil || !look {
		return err
	}
	var found lost
	if err := s.Ask(ctx, "/internal/recover/validate", map[string]any{"pools": names}, &found); err != nil {
		return err
	}
	return found.tell(q.out)
}

// tell prints what was found, and fails if that is something: it cannot be taken in yet.
func (l lost) tell(out io.Writer) error {
	if len(l.UnknownVolumes) == 0 {
		return writeAll(out, "Every volume there is known: nothing has to be recovered.\n")
	}
	var b strings.Builder
	b.WriteString("These are not known:\n")
	for _, v := range l.UnknownVolumes {
		fmt.Fprintf(&b, " - %s %q in pool %q (project: %s, snapshots: %d)\n", v.Type, v.Name, v.Pool, v.Project, v.SnapshotCount)
	}
	for _, e := range l.DependencyErrors {
		fmt.Fprintf(&b, "%s\n", e)
	}
	if err := writeAll(out, b.String()); err != nil {
		return err
	}
	return errs.Newf(errs.Unsupported, "taking in what was found is not possible yet: it is left as it is. Keep it, and bring back from backups what is needed, "+
		"with \"lxc import\" or \"lxc storage volume import\", under another name or in another pool")
}
