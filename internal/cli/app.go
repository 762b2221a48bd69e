package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/conf"
	"lxd/internal/cli/pin"
	"lxd/internal/cli/render"
	"lxd/internal/cli/term"
)

// App is one run of lxc: its streams, its global flags, its configuration and the servers it talks to.
type App struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer

	flags struct {
		debug, forceLocal, quiet, verbose bool
		project                           string
	}
	ctx     context.Context
	conf    *conf.Config
	servers map[string]*client.Client
	failed  error
}

// outErr is the first failure to write to Out, other than a reader that went away.
func (a *App) outErr() error { return a.failed }

func (a *App) printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if term.Is(a.Out) {
		text = term.Plain(text)
	}
	if _, err := io.WriteString(a.Out, text); err != nil && a.failed == nil {
		a.failed = fmt.Errorf("writing the output: %w", err)
	}
}

// say prints a remark, unless --quiet.
func (a *App) say(format string, args ...any) {
	if !a.flags.quiet {
		a.printf(format+"\n", args...)
	}
}

// config is the user's configuration, read when first needed.
func (a *App) config() (*conf.Config, error) {
	if a.conf != nil {
		return a.conf, nil
	}
	dir, err := conf.Dir()
	if err != nil {
		return nil, err
	}
	a.conf, err = conf.Load(dir)
	return a.conf, err
}

// parse splits "[remote:]name" and connects to the remote.
func (a *App) parse(arg string) (*client.Client, string, error) {
	c, err := a.config()
	if err != nil {
		return nil, "", err
	}
	remote, name, err := c.Parse(arg)
	if err != nil {
		return nil, "", err
	}
	server, err := a.server(remote)
	return server, name, err
}

// remoteArg is parse of args[i], or of nothing, which is the default remote, when there are not that many.
func (a *App) remoteArg(args []string, i int) (*client.Client, string, error) {
	if i >= len(args) {
		return a.parse("")
	}
	return a.parse(args[i])
}

// server connects to a remote by name; connections are shared.
func (a *App) server(remote string) (*client.Client, error) {
	if a.flags.forceLocal {
		remote = conf.Local
	}
	if c, ok := a.servers[remote]; ok {
		return c, nil
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	r, ok := cfg.Remotes[remote]
	if !ok {
		return nil, fmt.Errorf("The remote \"%s\" doesn't exist", remote)
	}
	c, err := connect(cfg, remote, r)
	if err != nil {
		return nil, err
	}
	project := a.flags.project
	if project == "" {
		project = r.Project
	}
	c = c.InProject(project)
	if a.servers == nil {
		a.servers = map[string]*client.Client{}
	}
	a.servers[remote] = c
	return c, nil
}

func connect(cfg *conf.Config, name string, r conf.Remote) (*client.Client, error) {
	switch {
	case strings.HasPrefix(r.Addr, "unix:"):
		return client.ConnectUnix(strings.TrimPrefix(strings.TrimPrefix(r.Addr, "unix:"), "//"))
	case r.Protocol == "simplestreams":
		return nil, fmt.Errorf("Remote %q is a simplestreams image server, which this client cannot read yet. Import images from files with: lxc image import", name)
	}
	cert, key := cfg.ClientCertificate()
	tls, err := pin.TLS(cert, key, cfg.ServerCertificate(name))
	if err != nil {
		return nil, err
	}
	return client.ConnectHTTPS(r.Addr, tls)
}

// interactive tells whether both ends are terminals, so that progress and editors make sense.
func (a *App) interactive() bool { return term.Is(a.In) && term.Is(a.Out) }

// readIn is what was piped into lxc; a terminal counts as nothing.
func (a *App) readIn() ([]byte, error) {
	if f, ok := a.In.(*os.File); ok && !piped(f) {
		return nil, nil
	}
	if a.In == nil {
		return nil, nil
	}
	return io.ReadAll(a.In)
}

// piped tells whether f may hold a document: a pipe or a file, and neither a terminal nor /dev/null.
func piped(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// ask reads one line in answer to a question.
func (a *App) ask(question string) (string, error) {
	a.printf("%s", question)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// list prints rows or the raw objects, after putting the rows into order.
func (a *App) list(format string, header []string, rows [][]string, raw any) error {
	if _, err := render.Rows(format); err != nil {
		return err
	}
	render.Sort(rows)
	return render.List(a.Out, format, render.Grid{Header: header, Rows: rows}, raw)
}

// hasExtension tells whether server knows an API extension.
func hasExtension(server *api.Server, name string) bool {
	for _, e := range server.APIExtensions {
		if e == name {
			return true
		}
	}
	return false
}

// spec describes a command that takes arguments.
type spec struct {
	use, short, long, example string
	aliases                   []string
	// least and most bound the number of arguments; a most of -1 is no bound.
	least, most int
	run         func(args []string) error
	complete    func(args []string, prefix string) []string
}

// leaf makes the command of s. Wrong usage prints the help of the command, and the reason unless nothing at all was given.
func (a *App) leaf(s spec) *cobra.Command {
	cmd := &cobra.Command{Use: s.use, Aliases: s.aliases, Short: s.short, Long: s.long, Example: s.example}
	if cmd.Long == "" {
		cmd.Long = s.short
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < s.least || (s.most >= 0 && len(args) > s.most) {
			_ = cmd.Help() // printing help cannot fail in a way worth telling beside the error
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("Invalid number of arguments")
		}
		return s.run(args)
	}
	if s.complete != nil {
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return s.complete(args, prefix), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

// branch makes a command that only has sub-commands.
func branch(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: short, Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Usage() }
	cmd.AddCommand(subs...)
	return cmd
}

// format declares the flag --format.
func format(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("format", "f", "table", "Format ("+render.Formats+")``")
}

// keyValues parses arguments of the form key=value.
func keyValues(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("Bad key=value pair: %s", arg)
		}
		out[key] = value
	}
	return out, nil
}

// query adds key=value to path.
func query(path, key, value string) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + key + "=" + url.QueryEscape(value)
}

// recursive is path asking for whole objects.
func recursive(path string) string { return query(path, "recursion", "1") }

// get, post and put are the verbs that need no ETag.
const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	remove = http.MethodDelete
)
