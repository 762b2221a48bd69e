package main

import (
	"maps"
	"slices"
	"strings"

	"lxd/scripts/internal/table"
)

// result is a section compared with what exists.
type result struct {
	title                          string
	total                          int
	have, missing, unknown, differ []string
}

// spec is everything that the tables list.
type spec struct {
	endpoints, extensions map[string]string
	keys                  []table.Row
	commands              []table.Row
}

func readSpec(root string) (spec, error) {
	s := spec{endpoints: map[string]string{}, extensions: map[string]string{}}
	rows, err := table.Read(root, "endpoints")
	if err != nil {
		return s, err
	}
	for _, r := range rows {
		shown := r["method"] + " " + r["path"]
		s.endpoints[canonicalPath(shown)] = shown
	}
	if rows, err = table.Read(root, "extensions"); err != nil {
		return s, err
	}
	for _, r := range rows {
		s.extensions[r["name"]] = r["name"]
	}
	if s.keys, err = table.Read(root, "config"); err != nil {
		return s, err
	}
	s.commands, err = table.Read(root, "cli")
	return s, err
}

// compare sets what a manifest has against the spec.
func compare(want spec, m manifest) []result {
	routes := map[string]string{}
	for _, r := range m.Routes {
		if strings.Contains(r, " /1.0") || strings.HasSuffix(r, " /") || strings.HasSuffix(r, " /{$}") {
			routes[canonicalPath(r)] = r
		}
	}
	extensions := map[string]string{}
	for _, e := range m.Extensions {
		extensions[e] = e
	}
	return append([]result{
		diff("endpoints", want.endpoints, routes),
		compareKeys(want.keys, m.Keys),
	}, append(compareCommands(want.commands, m.Commands), diff("extensions", want.extensions, extensions))...)
}

// diff compares two sets of things, comparable form to shown form.
func diff(title string, want, got map[string]string) result {
	r := result{title: title, total: len(want)}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[k]; ok {
			r.have = append(r.have, want[k])
		} else {
			r.missing = append(r.missing, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			r.unknown = append(r.unknown, got[k])
		}
	}
	return r
}

// compareKeys takes a key as present if its entity has it, or its group of the entity does.
func compareKeys(rows []table.Row, keys map[string][]string) result {
	got, shown := map[string]string{}, map[string]string{}
	for entity, names := range keys {
		for _, name := range names {
			got[entity+" "+canonicalKey(name)] = entity + " " + name
		}
	}
	want, present := map[string]string{}, map[string]string{}
	for _, r := range rows {
		key := canonicalKey(r["key"])
		id := r["entity"] + "/" + r["group"] + " " + key
		want[id] = r["entity"] + "/" + r["group"] + " " + r["key"]
		for _, entity := range []string{r["entity"], r["entity"] + "/" + r["group"]} {
			if _, ok := got[entity+" "+key]; ok {
				present[id] = want[id]
				shown[entity+" "+key] = want[id]
			}
		}
	}
	res := diff("keys", want, present)
	for _, id := range slices.Sorted(maps.Keys(got)) {
		if _, ok := shown[id]; !ok {
			res.unknown = append(res.unknown, got[id])
		}
	}
	return res
}

// compareCommands compares names, and what belongs to them, of commands and of flags.
func compareCommands(rows []table.Row, tree []command) []result {
	gotCommands, gotFlags := map[string]command{}, map[string]commandFlag{}
	commands, flags := map[string]string{}, map[string]string{}
	for _, c := range tree {
		gotCommands[c.Name], commands[c.Name] = c, c.Name
		for _, f := range c.Flags {
			id := c.Name + " " + f.Name
			gotFlags[id], flags[id] = f, id
		}
	}
	wantCommands, wantFlags := map[string]string{}, map[string]string{}
	var commandsDiffer, flagsDiffer []string
	for _, r := range rows {
		name := r["command"]
		switch r["kind"] {
		case "command":
			wantCommands[name] = name
			if c, ok := gotCommands[name]; ok {
				commandsDiffer = append(commandsDiffer, commandDiffers(r, c)...)
			}
		case "flag":
			id := name + " " + r["flag"]
			wantFlags[id] = id
			if f, ok := gotFlags[id]; ok {
				flagsDiffer = append(flagsDiffer, flagDiffers(r, id, f)...)
			}
		}
	}
	// Hidden commands of our own, such as the one that prints the manifest, are no part of the interface.
	for name, c := range gotCommands {
		if _, ok := wantCommands[name]; c.Hidden && !ok {
			delete(commands, name)
		}
	}
	c, f := diff("commands", wantCommands, commands), diff("flags", wantFlags, flags)
	c.differ, f.differ = commandsDiffer, flagsDiffer
	return []result{c, f}
}

func commandDiffers(r table.Row, c command) []string {
	return differences(c.Name, [][3]string{
		{"aliases", c.Aliases, r["aliases"]},
		{"arguments", c.Args, r["args"]},
		{"hidden", yesNo(c.Hidden), r["hidden"]},
	})
}

func flagDiffers(r table.Row, id string, f commandFlag) []string {
	return differences(id, [][3]string{
		{"short form", f.Short, r["short"]},
		{"type", f.Type, r["type"]},
		{"default", f.Default, r["default"]},
		{"hidden", yesNo(f.Hidden), r["hidden"]},
	})
}

// differences takes triples of name, value found, value wanted.
func differences(id string, parts [][3]string) []string {
	var out []string
	for _, p := range parts {
		if p[1] != p[2] {
			out = append(out, id+": "+p[0]+" is \""+p[1]+"\", should be \""+p[2]+"\"")
		}
	}
	return out
}

func yesNo(b bool) string {
	if b {
		return "y"
	}
	return "n"
}
