package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"lxd/client"
	"lxd/internal/cli/command"
)

// thing is an object that has a configuration, and lies within another.
type thing struct {
	Name     string            `json:"name" yaml:"name"`
	Location string            `json:"location" yaml:"location"`
	Config   map[string]string `json:"config" yaml:"config"`
}

type thingPut struct {
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
}

// server answers with things and notes what it is asked.
type server struct {
	asked []string
	list  []thing
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+strings.TrimSpace(string(body))))
	var metadata any = s.list
	if !strings.HasSuffix(r.URL.Path, "/things") {
		metadata = s.list[0]
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "sync", "status_code": 200, "metadata": metadata})
}

// start is a run of lxc that talks to a server with two things.
func start(t *testing.T, stdin string) (*command.App, *server, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{list: []thing{{Name: "t10", Config: map[string]string{"a": "1"}}, {Name: "t9", Location: "none"}}}
	srv := httptest.NewUnstartedServer(s)
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	t.Setenv("LXD_SOCKET", filepath.Join(dir, "s"))
	t.Setenv("LXD_CONF", dir)
	out := &bytes.Buffer{}
	return &command.App{In: strings.NewReader(stdin), Out: out, Err: out, Ctx: context.Background()}, s, out
}

func kind(a *command.App) *command.Kind[thing, thingPut] {
	return &command.Kind[thing, thingPut]{App: a, Noun: "thing", Words: "[<remote>:]<box> <thing>", Names: 2,
		Path:     func(n []string) string { return client.Path("boxes", n[0], "things", n[1]) },
		Writable: func(f *thing) thingPut { return thingPut{Config: f.Config} },
		Settings: func(p *thingPut) *map[string]string { return &p.Config }}
}

func listing() command.Listing[thing] {
	return command.Listing[thing]{Short: "List things", Letters: "nl", Choose: true, AllProjects: "All of them", Targeted: true,
		Columns: []command.Column[thing]{
			command.Col('e', "PROJECT", func(*thing) string { return "p" }),
			command.Col('n', "NAME", func(t *thing) string { return t.Name }),
			command.Col('l', "LOCATION", func(t *thing) string { return t.Location })},
		Adapt: func(letters string, all []thing) string {
			if command.Clustered(all, func(t *thing) string { return t.Location }) {
				return letters
			}
			return "n"
		}}
}

func TestKind(t *testing.T) {
	create := func(k *command.Kind[thing, thingPut]) *cobra.Command {
		return k.Create(command.Creation[thingPut]{Short: "Create things", Words: "<sort>", Extra: 1, Pairs: true, Piped: true, Title: "Thing",
			Body: func(name string, extra []string, p thingPut) (any, error) {
				if extra[0] == "bad" {
					return nil, fmt.Errorf("no such sort")
				}
				return map[string]any{"name": name, "sort": extra[0], "put": p}, nil
			}})
	}
	list := func(k *command.Kind[thing, thingPut]) *cobra.Command { return k.List(listing()) }
	refusing := func(k *command.Kind[thing, thingPut]) *cobra.Command {
		k.Check = func(*client.Client) error { return fmt.Errorf("none here") }
		return k.List(listing())
	}
	for name, c := range map[string]struct {
		make  func(*command.Kind[thing, thingPut]) *cobra.Command
		args  string
		stdin string
		asked []string
		said  string
	}{
		"create":         {create, "b1 t1 big a=1", "", []string{`POST /1.0/boxes/b1/things {"name":"t1","put":{"description":"","config":{"a":"1"}},"sort":"big"}`}, "Thing t1 created\n"},
		"create piped":   {create, "b1 t1 big b=2", "description: d\nconfig: {a: '1'}\n", []string{`POST /1.0/boxes/b1/things {"name":"t1","put":{"description":"d","config":{"a":"1","b":"2"}},"sort":"big"}`}, "Thing t1 created\n"},
		"create badly":   {create, "b1 t1 bad", "", nil, "no such sort"},
		"create unpairs": {create, "b1 t1 big a", "", nil, "Bad key=value pair: a"},
		"create nothing": {create, "b1 t1 big", "description: [", nil, "yaml"},
		"list":           {list, "local:b1 -f csv", "", []string{"GET /1.0/boxes/b1/things?recursion=1"}, "t9\nt10\n"},
		"list all":       {list, "b1 -f csv --all-projects", "", []string{"GET /1.0/boxes/b1/things?recursion=1&all-projects=true"}, "p,t9\np,t10\n"},
		"list columns":   {list, "b1 -f csv -c ln --target m1", "", []string{"GET /1.0/boxes/b1/things?recursion=1&target=m1"}, "none,t9\n,t10\n"},
		"list badly":     {list, "b1 -c x", "", []string{"GET /1.0/boxes/b1/things?recursion=1"}, "Unknown column shorthand char 'x' in 'x'"},
		"list nowhere":   {list, "away:b1", "", nil, `The remote "away" doesn't exist`},
		"list refused":   {refusing, "b1", "", nil, "none here"},
		"get":            {func(k *command.Kind[thing, thingPut]) *cobra.Command { return k.Get() }, "b1 t1 a", "", []string{"GET /1.0/boxes/b1/things/t1"}, "1\n"},
		"set": {func(k *command.Kind[thing, thingPut]) *cobra.Command { return k.Set() }, "b1 t1 b 2", "",
			[]string{"GET /1.0/boxes/b1/things/t1", `PUT /1.0/boxes/b1/things/t1 {"description":"","config":{"a":"1","b":"2"}}`}, ""},
		"delete": {func(k *command.Kind[thing, thingPut]) *cobra.Command {
			return k.Delete("Delete things", "Thing %s deleted")
		}, "b1 t1", "", []string{"DELETE /1.0/boxes/b1/things/t1"}, "Thing t1 deleted\n"},
		"nameless": {func(k *command.Kind[thing, thingPut]) *cobra.Command { return k.Show() }, "local: t1", "", nil, "Missing thing name"},
	} {
		t.Run(name, func(t *testing.T) {
			a, s, out := start(t, c.stdin)
			cmd := c.make(kind(a))
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(strings.Fields(c.args))
			said := ""
			if err := cmd.Execute(); err != nil {
				said = err.Error()
			}
			said += out.String()
			if !slices.Equal(s.asked, c.asked) || said != c.said && (c.said == "" || !strings.Contains(said, c.said)) {
				t.Errorf("asked %q, want %q; said %q, want %q", s.asked, c.asked, said, c.said)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	a, _, _ := start(t, "")
	k := kind(a)
	for want, cmd := range map[string]*cobra.Command{
		"list [<remote>:]<box>":                                       k.List(listing()),
		"create [<remote>:]<box> <thing> <sort> [key=value...]":       k.Create(command.Creation[thingPut]{Words: "<sort>", Extra: 1, Pairs: true}),
		"rename [<remote>:]<box> <thing> <new-name>":                  k.Rename("", ""),
		"set [<remote>:]<box> <thing> <key>=<value>...":               k.Set(),
		"lxc thing edit [<remote>:]<box> < thing.yaml, in an example": k.Edit(),
	} {
		use, example, _ := strings.Cut(want, ", in")
		if got := cmd.Use; got != use && (example == "" || !strings.HasPrefix(cmd.Example, use)) {
			t.Errorf("got %q, %q, want %q", got, cmd.Example, want)
		}
	}
}

func TestArguments(t *testing.T) {
	a, _, _ := start(t, "from\ninput")
	for args, want := range map[string]string{"a=1 b=2=3": "map[a:1 b:2=3]", "a 1": "map[a:1]", "a=-": "map[a:from\ninput]", "a b c": "Invalid key=value configuration: a"} {
		got, err := a.Assignments(strings.Fields(args))
		if said := fmt.Sprint(got); said != want && (err == nil || err.Error() != want) {
			t.Errorf("%s: got %s, %v, want %s", args, said, err, want)
		}
	}
	for args, want := range map[string]string{"": "", "c1 x=y": "c1|x=y", "local: a": "a", "local:c1 b": "c1|b", "user.a=b:c": "user.a=b:c"} {
		_, got, err := a.Filters(strings.Fields(args))
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: got %q, %v, want %q", args, got, err, want)
		}
	}
	if got := command.Query(command.Query("/x", "a", "b c"), "d", "&"); got != "/x?a=b+c&d=%26" {
		t.Errorf("got %s", got)
	}
	if got := command.Plain("a:b"); got != "b" {
		t.Errorf("got %s", got)
	}
}
