package command

import (
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Listing is how objects of one kind are listed.
type Listing[F any] struct {
	// Short says what is listed; Long, if not empty, describes the columns too.
	Short, Long string
	// Columns are all that there are, Letters those shown unless others are asked for. Letter e is the project, shown with --all-projects.
	Columns []Column[F]
	Letters string
	// Choose adds the flag --columns.
	Choose bool
	// AllProjects explains the flag --all-projects; empty means that there is none.
	AllProjects string
	// Targeted adds the flag --target.
	Targeted bool
	// Hidden tells objects that only matter to those who read the raw list.
	Hidden func(F) bool
	// Keep tells what is listed at all; nil lists everything.
	Keep func(F) bool
	// Adapt picks other letters in view of what is listed.
	Adapt func(letters string, items []F) string
}

// listFlags are the flags of a list.
type listFlags struct {
	all             bool
	letters, target string
	shape           *string
}

// List makes the command that lists the objects of the kind. If it takes several names to name one, the list takes all but the last.
func (k *Kind[F, P]) List(l Listing[F]) *cobra.Command {
	f := listFlags{letters: l.Letters}
	within := k.Names - 1
	words := "[<remote>:]"
	if within > 0 {
		words = strings.Join(strings.Fields(k.Words)[:within], " ")
	}
	cmd := k.App.Leaf(Leaf{Use: "list " + words, Aliases: []string{"ls"}, Short: l.Short, Long: l.Long, Least: within, Most: max(within, 1),
		Run: func(args []string) error { return k.list(args, l, f) }})
	if l.AllProjects != "" {
		cmd.Flags().BoolVar(&f.all, "all-projects", false, l.AllProjects)
	}
	if l.Choose {
		cmd.Flags().StringVarP(&f.letters, "columns", "c", l.Letters, "Columns``")
	}
	if l.Targeted {
		cmd.Flags().StringVar(&f.target, "target", "", "Cluster member name``")
	}
	f.shape = Format(cmd)
	return cmd
}

func (k *Kind[F, P]) list(args []string, l Listing[F], f listFlags) error {
	server, name, err := k.App.RemoteArg(args, 0)
	if err != nil {
		return err
	}
	if k.Check != nil {
		if err := k.Check(server); err != nil {
			return err
		}
	}
	var items []F
	if _, err := server.OnTarget(f.target).Get(k.App.Ctx, k.collection(name, args, f.all), &items); err != nil {
		return err
	}
	if l.Keep != nil {
		items = slices.DeleteFunc(items, func(i F) bool { return !l.Keep(i) })
	}
	letters := f.letters
	if l.Adapt != nil && letters == l.Letters {
		letters = l.Adapt(letters, items)
	}
	if f.all {
		letters = "e" + letters
	}
	columns, err := Pick(letters, l.Columns)
	if err != nil {
		return err
	}
	shown := items
	if l.Hidden != nil {
		shown = slices.DeleteFunc(slices.Clone(items), l.Hidden)
	}
	header, rows := LayOut(columns, shown)
	return k.App.List(*f.shape, header, rows, items)
}

// collection is the URL that lists the objects.
func (k *Kind[F, P]) collection(name string, args []string, all bool) string {
	names := make([]string, k.Names)
	copy(names, args)
	names[0], names[k.Names-1] = name, "x"
	out := Recursive(path.Dir(k.Path(names)))
	if all {
		out = Query(out, "all-projects", "true")
	}
	return out
}

// Clustered tells whether any item has a location in a cluster.
func Clustered[F any](items []F, location func(*F) string) bool {
	for i := range items {
		if at := location(&items[i]); at != "" && at != "none" {
			return true
		}
	}
	return false
}
