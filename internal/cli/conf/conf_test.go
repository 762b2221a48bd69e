package conf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/cli/conf"
)

func load(t *testing.T, dir string) *conf.Config {
	t.Helper()
	c, err := conf.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := load(t, filepath.Join(t.TempDir(), "missing"))
	if c.DefaultRemote != conf.Local || c.Remotes[conf.Local].Addr != "unix://" || !c.Remotes["ubuntu"].Static || c.Remotes["images"].Static {
		t.Errorf("got %+v", c)
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	c := load(t, dir)
	c.Remotes["mine"] = conf.Remote{Addr: "https://host:8443", Project: "web"}
	c.Aliases["ll"] = "list"
	c.DefaultRemote = "mine"
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "unix://") {
		t.Errorf("what is built in was saved:\n%s", data)
	}
	again := load(t, dir)
	if again.DefaultRemote != "mine" || again.Remotes["mine"].Project != "web" || again.Aliases["ll"] != "list" || again.Remotes[conf.Local].Addr != "unix://" {
		t.Errorf("got %+v", again)
	}
}

func TestLoadOfWhatOthersWrote(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
	}{
		"empty":         {"", ""},
		"null maps":     {"remotes: null\naliases: null\n", ""},
		"more keys":     {"default-remote: local\nmore: {a: b}\n", ""},
		"not YAML":      {"remotes: [", "config.yml"},
		"another shape": {"remotes: [1]", "config.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "config.yml"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := conf.Load(dir)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || got.Aliases == nil || got.Remotes[conf.Local].Addr == "" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestBuiltInRemotesCannotBeShadowed(t *testing.T) {
	dir := t.TempDir()
	text := "remotes:\n  local: {addr: https://elsewhere}\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := load(t, dir); c.Remotes[conf.Local].Addr != "unix://" {
		t.Errorf("local means %s", c.Remotes[conf.Local].Addr)
	}
}

func TestParse(t *testing.T) {
	c := load(t, t.TempDir())
	for arg, want := range map[string][2]string{"c1": {"local", "c1"}, "images:a:b": {"images", "a:b"}, "images:": {"images", ""}, "": {"local", ""}} {
		remote, name, err := c.Parse(arg)
		if err != nil || remote != want[0] || name != want[1] {
			t.Errorf("%s: got %s, %s, %v", arg, remote, name, err)
		}
	}
	if _, _, err := c.Parse("nosuch:c1"); err == nil {
		t.Error("an unknown remote was accepted")
	}
}

func TestEditable(t *testing.T) {
	c := load(t, t.TempDir())
	for name, want := range map[string]string{"images": "", "local": "static", "nosuch": "doesn't exist"} {
		_, err := c.Editable(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDir(t *testing.T) {
	t.Setenv("LXD_CONF", "/x")
	if dir, err := conf.Dir(); dir != "/x" || err != nil {
		t.Errorf("got %s, %v", dir, err)
	}
	t.Setenv("LXD_CONF", "")
	t.Setenv("XDG_CONFIG_HOME", "/home/me/.config")
	if dir, err := conf.Dir(); dir != "/home/me/.config/lxc" || err != nil {
		t.Errorf("got %s, %v", dir, err)
	}
	c := load(t, "/x")
	cert, key := c.ClientCertificate()
	if cert != "/x/client.crt" || key != "/x/client.key" || c.ServerCertificate("a") != "/x/servercerts/a.crt" {
		t.Errorf("got %s, %s, %s", cert, key, c.ServerCertificate("a"))
	}
}

func TestNamesAndCertificates(t *testing.T) {
	c := load(t, t.TempDir())
	for _, bad := range []string{"", "local", "a:b", "a/b", "..", "a b"} {
		if c.Free(bad) == nil {
			t.Errorf("%q can be the name of a new remote", bad)
		}
	}
	if err := c.Free("box"); err != nil {
		t.Error(err)
	}
	if err := c.Move("none", "box"); err != nil {
		t.Error("nothing to move", err)
	}
	path := c.ServerCertificate("box")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Move("box", "crate"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.ServerCertificate("crate")); err != nil {
		t.Error(err)
	}
	for range 2 { // the second time there is nothing left
		if err := c.Forget("crate"); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(c.ServerCertificate("crate")); !os.IsNotExist(err) {
		t.Error(err)
	}
}
