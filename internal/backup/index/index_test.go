package index_test

import (
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/backup/index"
	"lxd/internal/errs"
)

func sample(version int) index.Index {
	in := api.Instance{Name: "c1", Type: "container", Architecture: "x86_64", Profiles: []string{"default"}, Config: map[string]string{"user.a": "one\ntwo: 'three'"},
		Devices: map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "tank"}}, CreatedAt: time.Unix(1, 0).UTC()}
	snaps := []api.InstanceSnapshot{{Name: "s0", Config: map[string]string{}, CreatedAt: time.Unix(2, 0).UTC()}}
	vol := index.Volume{StorageVolume: api.StorageVolume{Name: "c1", Type: "container"}, Snapshots: []api.StorageVolumeSnapshot{{Name: "s0"}}}
	return index.Index{Name: "c1", Backend: "dir", Pool: "tank", Snapshots: []string{"s0"}, Type: "container",
		Config: index.Content{Instance: in, Snapshots: snaps, Profiles: []api.Profile{{Name: "default"}}, Pool: api.StoragePool{Name: "tank", Driver: "dir"}, Volume: vol}.Config(version)}
}

func TestBothVersionsThereAndBack(t *testing.T) {
	for _, version := range []int{index.Old, index.Current} {
		b, err := sample(version).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if old := strings.Contains(text, "container:\n        name: c1"); old != (version == index.Old) {
			t.Errorf("version %d has the form\n%s", version, text)
		}
		if strings.Contains(text, "version: 2") != (version == index.Current) {
			t.Errorf("version %d says\n%s", version, text)
		}
		got, err := index.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		in := got.Config.Instance
		if got.Name != "c1" || in == nil || in.Config["user.a"] != "one\ntwo: 'three'" || in.Devices["root"]["pool"] != "tank" || !in.CreatedAt.Equal(time.Unix(1, 0)) ||
			len(got.Config.Snapshots) != 1 || got.Config.Snapshots[0].Name != "s0" || got.Snapshots[0] != "s0" {
			t.Errorf("version %d came back as %+v", version, got)
		}
		if b, err := got.Config.Marshal(); err != nil || !strings.Contains(string(b), "s0") {
			t.Errorf("backup.yaml %s, %v", b, err)
		}
	}
}

func TestOldNamesOfSnapshots(t *testing.T) {
	got, err := index.Parse(strings.NewReader("name: c1\nconfig:\n  container: {name: c1}\n  snapshots: [{name: c1/s0}]\n"))
	if err != nil || got.Config.Snapshots[0].Name != "s0" || got.Type != "container" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nname: x\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", "empty"},
		"comment":            {"# nothing", "empty"},
		"no map":             {"- a", "cannot be read"},
		"bomb":               {bomb, "anchors"},
		"merge":              {"config: &x {version: 2}\nother:\n  <<: *x\n", "anchors"},
		"recursive":          {"a: &a [*a]", "anchors"},
		"huge":               {"name: " + strings.Repeat("x", index.Max), "larger than"},
		"deep":               {"a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "deep"},
		"deep braces":        {"a: " + strings.Repeat("{a: ", 300) + strings.Repeat("}", 300), "deep"},
		"bytes":              {"\xff\xfe\x00", "cannot be read"},
		"without config":     {"name: c1\n", "too old"},
		"without instance":   {"name: c1\nconfig: {version: 2}\n", "no instance"},
		"of a later version": {"name: c1\nconfig: {version: 3, instance: {name: c1}}\n", "version 3"},
		"wrong types":        {"name: [a]\n", "cannot be read"},
		"wrong time":         {"name: c1\nconfig: {instance: {created_at: tomorrow}}\n", "cannot be read"},
		"wrong list":         {"name: c1\nsnapshots: {a: b}\n", "cannot be read"},
		"null instance":      {"name: c1\nconfig: {instance: null, container: ~}\n", "no instance"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := index.Parse(strings.NewReader(c.text))
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %.300v, want Invalid with %q", err, c.want)
			}
		})
	}
}

func TestMarshalRefusesWhatCouldNotBeReadAgain(t *testing.T) {
	i := sample(index.Current)
	i.Config.Instance.Config["user.big"] = strings.Repeat("x", index.Max)
	if _, err := i.Marshal(); !errs.Is(err, errs.Invalid) {
		t.Errorf("error %v", err)
	}
}

// FuzzParse: no index.yaml crashes the reader, what it refuses is called invalid, and what it takes can be written again.
func FuzzParse(f *testing.F) {
	for _, v := range []int{index.Old, index.Current} {
		b, _ := sample(v).Marshal()
		f.Add(b)
	}
	for _, s := range []string{"", "a: &a [*a]", "name: c1\nconfig: {container: {config: {a: 1, b: ~}}}", "? {a: b}\n: c", "!!binary aGk=: 1", "--- \n...\n---\nname: x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := index.Parse(strings.NewReader(string(b)))
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("kind %d: %v", errs.KindOf(err), err)
			}
			return
		}
		if _, err := i.Marshal(); err != nil && !errs.Is(err, errs.Invalid) {
			t.Fatal(err)
		}
	})
}
