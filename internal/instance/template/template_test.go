package template_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/instance/file"
	"lxd/internal/instance/template"
)

// TestMain lets this program be the process that renders.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == template.Command {
		if err := template.Main(os.Stdin, os.Stdout); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func job(text string) template.Job {
	return template.Job{
		Trigger: template.Create, Instance: map[string]string{"name": "c1", "privileged": "false"}, Config: map[string]string{"user.a": "<1>\n"},
		Devices: map[string]map[string]string{"eth0": {"type": "nic"}},
		Items:   []template.Item{{Target: "/etc/x", Text: text, Properties: map[string]string{"default": "none"}}},
	}
}

func TestRender(t *testing.T) {
	for text, want := range map[string]string{
		"{{ instance.name }} {{ container.name }} {{ trigger }} {{ path }}":                "c1 c1 create /etc/x",
		`{{ config_get("user.a", "b") }}{{ config_get("user.none", properties.default) }}`: "<1>none",
		`{% if instance.privileged == "true" %}yes{% else %}no{% endif %}`:                 "no",
		`{% for name in devices %}{{ name }}{% endfor %}`:                                  "eth0",
		`{{ devices.eth0.type|upper }} & "quotes"`:                                         `NIC & "quotes"`,
		"": "",
	} {
		got, err := template.Render(job(text))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q %v", text, got, err)
		}
	}
	for _, text := range []string{
		`{% include "/etc/passwd" %}`, `{% ssi "/etc/passwd" %}`, `{% extends "/etc/passwd" %}`, `{% import "/etc/passwd" x %}`, `{% lorem 9999999 w %}`,
		`{% macro a() %}{{ a() }}{% endmacro %}`, `{{ `, `{% if %}`, `{% for a in config %}`,
	} {
		if got, err := template.Render(job(text)); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
	long := job(`{% for a in config.long %}{% for b in config.long %}{{ config.long }}{% endfor %}{% endfor %}`)
	long.Config["long"] = strings.Repeat("x", 1<<16)
	if _, err := template.Render(long); err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Error(err)
	}
}

// TestProcess renders in another process, and has hostile templates ended.
func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := template.Process{Program: self}
	if got, err := p.Render(t.Context(), job("{{ instance.name }}")); err != nil || !slices.Equal(got, []string{"c1"}) {
		t.Error(got, err)
	}
	if _, err := p.Render(t.Context(), job("{% nothing %}")); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "/etc/x") {
		t.Error(err)
	}
	if testing.Short() {
		return
	}
	for name, text := range map[string]string{
		"memory": `{% set a = config.long %}` + strings.Repeat(`{% set a = a + a %}`, 20) + `{{ a|length }}`,
		"time":   strings.Repeat(`{% for a in config.long %}`, 6) + strings.Repeat(`{% endfor %}`, 6),
	} {
		j := job(text)
		j.Config["long"] = strings.Repeat("x", 1<<10)
		if _, err := p.Render(t.Context(), j); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out, err := exec.Command(self, template.Command).CombinedOutput(); err == nil {
		t.Errorf("no job: %s", out)
	}
}

func FuzzRender(f *testing.F) {
	f.Add(`{{ config_get("user.a", "b")|default:"x" }}{% if a %}{% endif %}`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "for") || strings.Contains(text, "set") || len(text) > 1000 {
			return // what takes long is ended by the process that it is in
		}
		_, _ = template.Render(job(text)) // it must not panic
	})
}

func metadata(when ...string) api.ImageMetadata {
	return api.ImageMetadata{Architecture: "x86_64", CreationDate: 1, Templates: map[string]api.ImageMetadataTemplate{
		"/etc/b": {When: when, Template: "b.tpl", CreateOnly: true}, "/etc/a": {When: []string{template.Start}, Template: "a.tpl", Properties: map[string]string{"k": "v"}},
	}}
}

func TestFolder(t *testing.T) {
	f := template.Folder{Path: t.TempDir()}
	if _, err := f.Metadata(); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if due, err := f.Due(template.Start); err != nil || due != nil {
		t.Error(due, err)
	}
	if err := f.SetMetadata(metadata(template.Create, template.Copy)); err != nil {
		t.Fatal(err)
	}
	if err := f.SetMetadata(api.ImageMetadata{}); !errs.Is(err, errs.Invalid) {
		t.Error("no architecture:", err)
	}
	got, err := f.Metadata()
	want := metadata(template.Create, template.Copy)
	got.Properties, want.Properties = nil, nil
	if a, b := strings.ReplaceAll(text(t, got), "{}", "null"), text(t, want); err != nil || a != b {
		t.Errorf("%s\n%s %v", a, b, err)
	}
	for name, content := range map[string]string{"a.tpl": "A", "b.tpl": "B"} {
		if err := f.SetTemplate(name, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := f.Templates(); err != nil || !slices.Equal(names, []string{"a.tpl", "b.tpl"}) {
		t.Error(names, err)
	}
	due, err := f.Due(template.Start, template.Copy)
	if err != nil || len(due) != 2 || due[0].Target != "/etc/a" || due[0].Text != "A" || due[0].Properties["k"] != "v" || !due[1].CreateOnly {
		t.Errorf("%+v %v", due, err)
	}
	if due, err := f.Due(template.Start, template.Rename); err != nil || len(due) != 1 {
		t.Errorf("%+v %v", due, err)
	}
	for _, name := range []string{"", "..", "a/b", ".next", "a\nb", strings.Repeat("x", 300)} {
		if _, err := f.Template(name); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
		if err := f.SetTemplate(name, strings.NewReader("")); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := f.SetTemplate("big", io.LimitReader(zeros{}, 2<<20)); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if err := f.DeleteTemplate("a.tpl"); err != nil {
		t.Error(err)
	}
	if err := f.DeleteTemplate("a.tpl"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := f.Due(template.Start); !errs.Is(err, errs.NotFound) {
		t.Error("a template that is gone:", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLinks: a hostile image has links where metadata and templates should be.
func TestLinks(t *testing.T) {
	top := t.TempDir()
	secret := filepath.Join(top, "secret")
	if err := os.WriteFile(secret, []byte("architecture: x86_64\ncreation_date: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := template.Folder{Path: filepath.Join(top, "volume")}
	for link, to := range map[string]string{"metadata.yaml": secret, "templates/x": secret, "templates/y": "../../secret", "templates/.next": secret} {
		at := filepath.Join(f.Path, link)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := f.Metadata(); err == nil {
		t.Error("metadata through a link:", m)
	}
	for _, name := range []string{"x", "y"} {
		if b, err := f.Template(name); err == nil {
			t.Errorf("a template through a link: %s", b)
		}
	}
	if names, err := f.Templates(); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
	for _, name := range []string{"x", "y", "z"} {
		if err := f.SetTemplate(name, strings.NewReader("mine")); err != nil {
			t.Error(err)
		}
	}
	if err := f.SetMetadata(metadata()); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(secret); err != nil || !bytes.HasPrefix(b, []byte("architecture")) || bytes.Contains(b, []byte("templates")) {
		t.Errorf("the secret is now %s %v", b, err)
	}
}

func TestPlace(t *testing.T) {
	top := t.TempDir()
	if err := os.Symlink("/outside", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := fs.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	tree := &file.Tree{Root: root}
	defer tree.Close()
	items := []template.Item{{Target: "/etc/new/a", CreateOnly: true}, {Target: "/etc/b"}, {Target: "../../../c"}}
	due, err := template.Missing(tree, items)
	if err != nil || len(due) != 3 {
		t.Fatal(due, err)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to make files of root's")
	}
	for _, i := range due {
		if err := template.Place(tree, i.Target, "text"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"etc/new/a", "etc/b", "c"} {
		st, err := os.Stat(filepath.Join(top, name))
		if err != nil || st.Mode() != 0o644 {
			t.Error(name, st, err)
		}
	}
	if due, err := template.Missing(tree, items); err != nil || len(due) != 2 {
		t.Error(due, err)
	}
	if err := template.Place(tree, "/link/x", "text"); err == nil {
		t.Error("written through a link that leads nowhere")
	}
}
