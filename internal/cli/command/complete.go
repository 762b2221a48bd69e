package command

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionTime bounds how long a press of the tab key may wait for a server.
const completionTime = 2 * time.Second

// CompleteNames completes the n-th argument with the names in the n-th of lists, which are URLs below /1.0 such as "instances"; {0} and
// so on stand for earlier arguments. Further arguments are completed by the last of lists, unless it is empty.
func (a *App) CompleteNames(lists ...string) func(args []string, prefix string) []string {
	return func(args []string, prefix string) []string {
		n := min(len(args), len(lists)-1)
		list, remote := lists[n], ""
		if list == "" {
			return nil
		}
		if n > 0 && list != lists[0] { // what belongs to the first argument is where that is
			remote = args[0][:len(args[0])-len(Plain(args[0]))]
		}
		for i, arg := range args {
			list = strings.ReplaceAll(list, "{"+strconv.Itoa(i)+"}", url.PathEscape(Plain(arg)))
		}
		return a.names(list, remote, prefix)
	}
}

// names lists what the server has: the one that prefix starts with, or else remote. Trouble completes nothing.
func (a *App) names(list, remote, prefix string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	typed := prefix[:strings.IndexByte(prefix, ':')+1]
	server, _, err := a.Parse(cmp.Or(typed, remote))
	if err != nil {
		return nil
	}
	names, err := server.Names(ctx, "/1.0/"+list)
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range names {
		if name = typed + name; strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out
}

// CompleteRemotes completes the names of remotes, each with its colon.
func (a *App) CompleteRemotes(args []string, prefix string) []string {
	cfg, err := a.Config()
	if err != nil || len(args) > 0 {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Remotes)) {
		if name += ":"; strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out
}

// CompleteProjects completes the flag --project.
func (a *App) CompleteProjects(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.names("projects", "", prefix), cobra.ShellCompDirectiveNoFileComp
}
