package command

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"lxd/client"
)

// KeyValues parses arguments of the form key=value.
func KeyValues(args []string) (map[string]string, error) {
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

// Query adds key=value to path.
func Query(path, key, value string) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + key + "=" + url.QueryEscape(value)
}

// Recursive is path asking for whole objects.
func Recursive(path string) string { return Query(path, "recursion", "1") }

// Plain is the name in "[remote:]name".
func Plain(arg string) string {
	return arg[strings.LastIndexByte(arg, ':')+1:]
}

// Filters tells the remote in front of the filters from the filters.
func (a *App) Filters(args []string) (*client.Client, []string, error) {
	if len(args) == 0 || !strings.Contains(args[0], ":") || strings.Contains(args[0], "=") {
		server, _, err := a.Parse("")
		return server, args, err
	}
	server, first, err := a.Parse(args[0])
	if first == "" {
		return server, args[1:], err
	}
	return server, append([]string{first}, args[1:]...), err
}

// Assignments parses what follows the name in a set command: pairs with an equals sign, or one key and one value.
// The value "-" is read from standard input.
func (a *App) Assignments(args []string) (map[string]string, error) {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		args = []string{args[0] + "=" + args[1]}
	}
	out := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("Invalid key=value configuration: %s", arg)
		}
		if value == "-" {
			data, err := io.ReadAll(a.In)
			if err != nil {
				return nil, fmt.Errorf("reading the value of %s: %w", key, err)
			}
			value = string(data)
		}
		out[key] = value
	}
	return out, nil
}
