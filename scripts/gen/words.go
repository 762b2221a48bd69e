package main

import (
	"fmt"
	"strings"
	"unicode"

	"lxd/scripts/internal/table"
)

// initialisms are written in capitals in Go names.
var initialisms = map[string]bool{
	"acl": true, "api": true, "cpu": true, "dns": true, "id": true, "ip": true, "iso": true, "oidc": true, "ovn": true, "pki": true, "sriov": true,
	"tls": true, "ui": true, "uri": true, "url": true, "ipv6": true, "maas": true, "vm": true,
}

// split cuts a Go name or a phrase into lower-case words: "CPUUsage" gives "cpu", "usage".
func split(name string) []string {
	var words []string
	var cur []rune
	flush := func() {
		if len(cur) > 0 {
			words = append(words, strings.ToLower(string(cur)))
			cur = nil
		}
	}
	rs := []rune(strings.ReplaceAll(name, "IPv", "Ipv"))
	for i, r := range rs {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush()
			continue
		}
		startsWord := unicode.IsUpper(r) && i > 0 && (unicode.IsLower(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1]))
		if startsWord && !pluralS(rs, i) {
			flush()
		}
		cur = append(cur, r)
	}
	flush()
	return words
}

// pluralS tells that the capital at i is the last of an initialism in the plural, as the L in "ACLs" or the P in "VCPUs".
func pluralS(rs []rune, i int) bool {
	return i+1 < len(rs) && rs[i+1] == 's' && unicode.IsUpper(rs[i-1]) && (i+2 == len(rs) || unicode.IsUpper(rs[i+2]))
}

// exported joins words into an exported Go name.
func exported(words ...string) string {
	var b strings.Builder
	for _, phrase := range words {
		for _, w := range split(strings.ReplaceAll(phrase, "'", "")) {
			if initialisms[w] {
				b.WriteString(strings.ToUpper(w))
				continue
			}
			if w == "devlxd" {
				b.WriteString("DevLXD")
				continue
			}
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}

// noun names the thing that a wire type is about, without the method suffix.
func noun(typeName string) string {
	words := split(typeName)
	for len(words) > 1 {
		last := words[len(words)-1]
		if last != "put" && last != "post" && last != "full" {
			break
		}
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

func article(phrase string) string {
	if strings.ContainsRune("aeio", rune(phrase[0])) {
		return "an " + phrase
	}
	return "a " + phrase
}

// typeDocs are for names that do not explain themselves.
var typeDocs = map[string]string{
	"Response":         "Response is the envelope of every answer as a client reads it: the metadata stays unparsed.",
	"ResponseRaw":      "ResponseRaw is the envelope of every answer as a server writes it, with any value as metadata.",
	"Event":            "Event is what travels to listeners; Type tells the form of Metadata.",
	"EventLifecycle":   "EventLifecycle is the metadata of an event that tells of a change to an entity.",
	"EventLogging":     "EventLogging is the metadata of an event that carries a log line.",
	"WithEntitlements": "WithEntitlements adds to an entity what the caller may do with it.",
}

// typeDoc says in one line what a wire type is for; mostly the suffix of the name carries the meaning.
func typeDoc(name string) string {
	if doc, ok := typeDocs[name]; ok {
		return doc
	}
	n := noun(name)
	plural := strings.HasSuffix(n, "s")
	switch {
	case strings.HasSuffix(name, "Put"):
		return fmt.Sprintf("%s holds what PUT and PATCH may change of %s.", name, article(n))
	case strings.HasSuffix(name, "Post") && plural:
		return fmt.Sprintf("%s is the body of a POST to the collection of %s.", name, n)
	case strings.HasSuffix(name, "Post"):
		return fmt.Sprintf("%s is the body of a POST to %s.", name, article(n))
	case strings.HasSuffix(name, "Full"):
		return fmt.Sprintf("%s is %s together with what is known of its parts.", name, article(n))
	case strings.HasSuffix(name, "State"):
		return fmt.Sprintf("%s is the state of %s right now.", name, article(strings.TrimSuffix(n, " state")))
	case plural:
		return fmt.Sprintf("%s describes %s.", name, n)
	}
	return fmt.Sprintf("%s describes %s.", name, article(n))
}

// fieldDoc says in one line what a field holds.
func fieldDoc(typeName string, f table.Row) string {
	words := strings.Join(split(f["go_field"]), " ")
	of := " of the " + noun(typeName)
	var doc string
	switch t := f["json_type"]; {
	case t == "bool":
		doc = "is the " + words + " flag"
	case t == "timestamp":
		doc = "is the " + strings.TrimSuffix(strings.TrimSuffix(words, "stamp"), "time") + " time"
	case strings.HasPrefix(t, "array"):
		doc = "lists the " + words
	case strings.HasPrefix(t, "map"):
		doc = "holds the " + words + ", by name,"
	default:
		doc = "is the " + words
	}
	doc = f["go_field"] + " " + strings.ReplaceAll(doc, "  ", " ") + of + "."
	if f["field_extension"] != "" {
		doc += " API extension: " + f["field_extension"]
	}
	return doc
}
