package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lxd/internal/endpoint"
	"lxd/internal/manual"
	"lxd/internal/schema"
)

// made stands at the head of every page.
const made = "<!-- Written by scripts/docs; change the program instead. -->\n"

// commands adds a page for each command of the first level, with all below it, and an index.
func commands(root *cobra.Command, pages map[string]string) {
	var index strings.Builder
	fmt.Fprintf(&index, "%s# The commands of lxc\n\n%s\n\n| Command | |\n|---|---|\n", made, "Global flags, which every command takes, are told of by `lxc --help`. The daemon's own commands are [here](lxd.md).")
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() || cmd.Name() == "help" {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s# lxc %s\n", made, cmd.Name())
		for _, p := range manual.Pages(cmd) {
			b.WriteString("\n")
			_ = manual.Markdown(&b, p, 2) // a builder takes everything
		}
		name := cmd.Name() + ".md"
		pages[filepath.Join("cli", name)] = b.String()
		fmt.Fprintf(&index, "| [lxc %s](%s) | %s |\n", cmd.Name(), name, cmd.Short)
	}
	pages[filepath.Join("cli", "README.md")] = index.String()
}

// program adds one page for a program with few commands.
func program(root *cobra.Command, pages map[string]string) {
	root.CompletionOptions.DisableDefaultCmd = true
	var b strings.Builder
	fmt.Fprintf(&b, "%s# The commands of %s\n", made, root.Name())
	for _, p := range manual.Pages(root) {
		b.WriteString("\n")
		_ = manual.Markdown(&b, p, 2) // a builder takes everything
	}
	pages[filepath.Join("cli", root.Name()+".md")] = b.String()
}

// keys adds a page for each entity with configuration keys, and an index. Keys that do nothing yet are left out.
func keys(tables endpoint.Tables, pages map[string]string) {
	var index strings.Builder
	fmt.Fprintf(&index, "%s# Configuration keys\n\n", made)
	for _, entity := range slices.Sorted(maps.Keys(tables)) {
		var b strings.Builder
		fmt.Fprintf(&b, "%s# Configuration keys: %s\n", made, title(entity))
		for _, group := range slices.Sorted(maps.Keys(tables[entity])) {
			if len(tables[entity]) > 1 {
				fmt.Fprintf(&b, "\n## %s\n", group)
			}
			rows(&b, tables[entity][group])
		}
		pages[filepath.Join("config", entity+".md")] = b.String()
		fmt.Fprintf(&index, "- [%s](%s.md)\n", title(entity), entity)
	}
	pages[filepath.Join("config", "README.md")] = index.String()
}

func rows(b *strings.Builder, keys []schema.Key) {
	b.WriteString("\n| Key | Type | Default | What it does |\n|---|---|---|---|\n")
	for _, k := range slices.SortedFunc(slices.Values(keys), func(a, b schema.Key) int { return cmp.Compare(a.Name, b.Name) }) {
		if k.Later {
			continue
		}
		text := strings.TrimSuffix(k.Short, ".")
		for _, more := range []string{k.Long, prefixed("Applies to: ", k.Condition), remark(k)} {
			if more != "" {
				text += ". " + strings.TrimSuffix(more, ".")
			}
		}
		kind := k.Type.Name
		if len(k.Type.Enum) > 0 {
			kind = strings.Join(k.Type.Enum, ", ")
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Name, cell(kind), quoted(k.Default), cell(text))
	}
}

// remark is what else is to be known of a key.
func remark(k schema.Key) string {
	switch {
	case k.Volatile:
		return "Kept by the server"
	case k.Local:
		return "Each member of a cluster has its own"
	}
	return ""
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "\\<").Replace(s)
}

// title writes an entity as words.
func title(entity string) string { return strings.ReplaceAll(entity, "-", " ") }
