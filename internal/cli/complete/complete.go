// Package complete offers what may stand next on a command line: names that exist on the server, keys that it knows, remotes, files.
//
// What an argument is, is read from the usage line of its command, so that commands need to say nothing else.
package complete

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
)

// patience bounds how long a press of the tab key may wait for a server.
const patience = 2 * time.Second

// Install makes all arguments and flags below cmd complete.
func Install(a *command.App, cmd *cobra.Command) {
	if cmd.Runnable() && !cmd.HasSubCommands() && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return answer(a, cmd, args, prefix)
		}
	}
	for name, source := range flagSources() {
		if cmd.LocalFlags().Lookup(name) == nil {
			continue
		}
		// That another function serves a flag already is no trouble.
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			q, cancel := newQuery(a, cmd, args, prefix)
			defer cancel()
			return slices.DeleteFunc(source(q), func(v string) bool { return !strings.HasPrefix(v, prefix) }), cobra.ShellCompDirectiveNoFileComp
		})
	}
	for _, sub := range cmd.Commands() {
		Install(a, sub)
	}
}

// query is one press of the tab key.
type query struct {
	ctx    context.Context
	app    *command.App
	path   string
	args   []string
	prefix string
	spots  []spot
	// typed is the remote in front of prefix, with its colon.
	typed string
}

func newQuery(a *command.App, cmd *cobra.Command, args []string, prefix string) (*query, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	q := &query{ctx: ctx, app: a, path: cmd.CommandPath(), args: args, prefix: prefix, spots: spots(cmd.Use)}
	return q, cancel
}

func answer(a *command.App, cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	q, cancel := newQuery(a, cmd, args, prefix)
	defer cancel()
	s, ok := at(q.spots, len(args))
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if next, ok := at(q.spots, len(args)+1); files(s) || s.what == "" && ok && files(next) && !strings.Contains(prefix, ":") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if s.remote {
		q.typed = prefix[:strings.IndexByte(prefix, ':')+1]
	}
	out := q.values(s)
	if s.remote && q.typed == "" {
		out = append(out, q.remotes(s)...)
	}
	out = slices.DeleteFunc(out, func(v string) bool {
		return !strings.HasPrefix(v, prefix) || s.repeats && slices.Contains(args, v)
	})
	if len(out) > 0 && !slices.ContainsFunc(out, whole) {
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// whole tells what no more is to be typed after from what asks for more.
func whole(v string) bool {
	return !strings.HasSuffix(v, ":") && !strings.HasSuffix(v, "=") && !strings.HasSuffix(v, "/")
}

// files tells arguments that name files on this computer.
func files(s spot) bool {
	if s.sub != "" || s.remote {
		return false
	}
	return slices.ContainsFunc(strings.FieldsFunc(s.what, func(r rune) bool { return r == ' ' || r == '.' }), func(word string) bool {
		return slices.Contains([]string{"path", "file", "tarball", "directory", "cert"}, word)
	})
}

// remotes are those that may stand in front of a spot, with colons. Servers that have nothing but images are left out elsewhere.
func (q *query) remotes(s spot) []string {
	cfg, err := q.app.Config()
	if err != nil {
		return nil
	}
	images := s.what == "image" || strings.HasPrefix(q.path, "lxc image ")
	var out []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Remotes)) {
		if images || cfg.Remotes[name].Protocol != "simplestreams" {
			out = append(out, name+":")
		}
	}
	return out
}

// server is the one that the argument is about: its own remote, or else that of the first argument.
func (q *query) server() *client.Client {
	remote := q.typed
	if remote == "" && len(q.args) > 0 && q.spots[0].remote {
		if n := len(q.args); n >= len(q.spots) || !q.spots[n].remote {
			remote = q.args[0][:strings.IndexByte(q.args[0], ':')+1]
		}
	}
	server, _, err := q.app.Parse(remote)
	if err != nil {
		return nil // trouble completes nothing
	}
	return server
}

// named is the argument whose placeholder is what, without its remote.
func (q *query) named(what string) string {
	for i, s := range q.spots {
		if i < len(q.args) && canonical(s.what) == what {
			name, _, _ := strings.Cut(command.Plain(q.args[i]), "/")
			return name
		}
	}
	return ""
}

// values is what may stand in a spot.
func (q *query) values(s spot) []string {
	what := canonical(s.what)
	if s.sub != "" && strings.Contains(q.prefix, "/") {
		return q.below(what, s.sub)
	}
	if v, ok := q.special(s); ok {
		return v
	}
	if strings.HasPrefix(q.path[strings.LastIndexByte(q.path, ' ')+1:], "create") && q.isNew(s) {
		return nil
	}
	out := slices.Clone(q.list(q.collection(what), nil))
	for i := range out {
		out[i] = q.typed + out[i]
		if s.sub == "path" || what == "pool" && s.sub != "" {
			out[i] += "/"
		}
	}
	if strings.HasPrefix(q.path, "lxc config ") && len(q.args) == 0 && len(q.spots) > 1 && q.spots[1].what == "key" { // a key of the server may come first
		out = append(out, q.keys(q.spots[1])...)
	}
	return out
}

// isNew tells the name of what a create command makes: it is the last of those that could be listed.
func (q *query) isNew(s spot) bool {
	last := ""
	for _, other := range q.spots {
		if q.collection(canonical(other.what)) != "" {
			last = other.what
		}
	}
	return s.what == last
}

// below completes what follows the slash in a spot such as <instance>/<path> or <pool>/<volume>.
func (q *query) below(what, sub string) []string {
	head := q.prefix[:strings.IndexByte(q.prefix, '/')]
	name := head[len(q.typed):]
	if sub == "path" {
		return q.paths(name)
	}
	out := q.list(q.collection(canonical(sub)), map[string]string{what: name})
	for i := range out {
		out[i] = head + "/" + out[i]
	}
	return out
}

// paths completes a path in an instance.
func (q *query) paths(instance string) []string {
	server := q.server()
	dir := q.prefix[:strings.LastIndexByte(q.prefix, '/')+1]
	if server == nil {
		return nil
	}
	f, err := server.GetFile(q.ctx, instance, dir[strings.IndexByte(dir, '/'):])
	if err != nil {
		return nil
	}
	if f.Content != nil {
		_ = f.Content.Close() // it was not wanted
	}
	out := slices.Clone(f.Names)
	for i := range out {
		out[i] = dir + out[i]
	}
	return out
}

// list reads the names in a collection of the server; known adds to what the arguments say.
func (q *query) list(collection string, known map[string]string) []string {
	server := q.server()
	if collection == "" || server == nil {
		return nil
	}
	for from, to, ok := placeholder(collection); ok; from, to, ok = placeholder(collection) {
		what := collection[from+1 : to-1]
		name := known[what]
		if name == "" {
			name = q.named(what)
		}
		if name == "" {
			return nil
		}
		collection = collection[:from] + client.Path(name)[len("/1.0/"):] + collection[to:]
	}
	names, err := server.Names(q.ctx, "/1.0/"+collection)
	if err != nil {
		return nil
	}
	return names
}

// placeholder finds the first {word} in a URL.
func placeholder(url string) (from, to int, ok bool) {
	from = strings.IndexByte(url, '{')
	if from < 0 {
		return 0, 0, false
	}
	return from, from + strings.IndexByte(url[from:], '}') + 1, true
}
