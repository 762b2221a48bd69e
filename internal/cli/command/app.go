// Package command is what all commands of lxc share: the streams and flags of a run, its configuration and connections, and the
// shapes that commands have. A Leaf is one command; a Kind makes those that all objects with a configuration have; columns lay out lists.
package command

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"lxd/api"
	"lxd/client"
	"lxd/client/oidc"
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

	// Flags are those that every command takes.
	Flags Flags
	// Ctx ends the run.
	Ctx     context.Context
	conf    *conf.Config
	servers map[string]*client.Client
	failed  error
}

// Flags are the flags that every command takes.
type Flags struct {
	Debug, ForceLocal, Quiet, Verbose bool
	Project                           string
}

// OutErr is the first failure to write to Out, other than a reader that went away.
func (a *App) OutErr() error { return a.failed }

// Printf prints to Out; a failure is told when the run ends.
func (a *App) Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if term.Is(a.Out) {
		text = term.Plain(text)
	}
	if _, err := io.WriteString(a.Out, text); err != nil && a.failed == nil {
		a.failed = fmt.Errorf("writing the output: %w", err)
	}
}

// Hushed is a copy that shares the connections and shows no progress.
func (a *App) Hushed() *App {
	b := *a
	b.Flags.Quiet = true
	return &b
}

// FullName is arg with the remote that it means.
func (a *App) FullName(arg string) string {
	if strings.Contains(arg, ":") || a.conf == nil {
		return arg
	}
	return a.conf.DefaultRemote + ":" + arg
}

// Say prints a remark, unless --quiet.
func (a *App) Say(format string, args ...any) {
	if !a.Flags.Quiet {
		a.Printf(format+"\n", args...)
	}
}

// Config is the user's configuration, read when first needed.
func (a *App) Config() (*conf.Config, error) {
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

// Parse splits "[remote:]name" and connects to the remote.
func (a *App) Parse(arg string) (*client.Client, string, error) {
	c, err := a.Config()
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

// RemoteArg is parse of args[i], or of nothing, which is the default remote, when there are not that many.
func (a *App) RemoteArg(args []string, i int) (*client.Client, string, error) {
	if i >= len(args) {
		return a.Parse("")
	}
	return a.Parse(args[i])
}

// server connects to a remote by name; connections are shared.
func (a *App) server(remote string) (*client.Client, error) {
	if a.Flags.ForceLocal {
		remote = conf.Local
	}
	if c, ok := a.servers[remote]; ok {
		return c, nil
	}
	cfg, err := a.Config()
	if err != nil {
		return nil, err
	}
	r, ok := cfg.Remotes[remote]
	if !ok {
		return nil, fmt.Errorf("The remote \"%s\" doesn't exist", remote)
	}
	c, err := a.Connect(cfg, remote, r)
	if err != nil {
		return nil, err
	}
	project := a.Flags.Project
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

// Connect makes the connection to a remote.
func (a *App) Connect(cfg *conf.Config, name string, r conf.Remote) (*client.Client, error) {
	switch {
	case strings.HasPrefix(r.Addr, "unix:"):
		return client.ConnectUnix(strings.TrimPrefix(strings.TrimPrefix(r.Addr, "unix:"), "//"))
	case r.Protocol == "simplestreams":
		return nil, fmt.Errorf("Remote %q is an image server: images can be copied from it, but nothing can be changed there", name)
	}
	authority, err := pin.LoadAuthority(cfg.Authority())
	if err != nil {
		return nil, err
	}
	keys := pin.Keys{Pinned: cfg.ServerCertificate(name), Authority: authority}
	if r.AuthType != OIDC {
		keys.Cert, keys.Key = cfg.ClientCertificate()
	}
	tls, err := pin.TLS(keys)
	if err != nil {
		return nil, err
	}
	c, err := client.ConnectHTTPS(r.Addr, tls)
	if err != nil || r.AuthType != OIDC {
		return c, err
	}
	return c.As(&oidc.Source{Path: cfg.Tokens(name), Tell: a.sendToIssuer}), nil
}

// OIDC is the word in a remote's entry for servers that trust an OpenID Connect issuer.
const OIDC = "oidc"

// sendToIssuer tells the user where to sign in. It goes where errors go, so that it is seen also when the output is read by a program.
func (a *App) sendToIssuer(address, code string) {
	_, _ = fmt.Fprintf(a.Err, "URL: %s\nCode: %s\n\n", term.Plain(address), term.Plain(code)) // there is no other place to tell of it
}

// Interactive tells whether both ends are terminals, so that progress and editors make sense.
func (a *App) Interactive() bool { return term.Is(a.In) && term.Is(a.Out) }

// ReadIn is what was piped into lxc; a terminal counts as nothing.
func (a *App) ReadIn() ([]byte, error) {
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

// Ask reads one line in answer to a question.
func (a *App) Ask(question string) (string, error) {
	a.Printf("%s", question)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// List prints rows or the raw objects, after putting the rows into order.
func (a *App) List(format string, header []string, rows [][]string, raw any) error {
	if _, err := render.Rows(format); err != nil {
		return err
	}
	render.Sort(rows)
	return render.List(a.Out, format, render.Grid{Header: header, Rows: rows}, raw)
}

// Table prints a table.
func (a *App) Table(header []string, rows [][]string) {
	if err := render.Table(a.Out, header, rows); err != nil && a.failed == nil {
		a.failed = err
	}
}

// Unexpected is an answer of the server that lacks something.
func Unexpected(what string) error { return fmt.Errorf("the server's answer lacks %s", what) }

// SayCreated tells that something was made, or that it waits for the other members when it was made on one of a cluster.
func (a *App) SayCreated(noun, name, target string) {
	if target != "" {
		a.Say("%s %s pending on member %s", noun, name, target)
		return
	}
	a.Say("%s %s created", noun, name)
}

// HasExtension tells whether server knows an API extension.
func HasExtension(server *api.Server, name string) bool {
	for _, e := range server.APIExtensions {
		if e == name {
			return true
		}
	}
	return false
}
