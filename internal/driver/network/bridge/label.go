package bridge

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"
)

// Instances of other projects are called INSTANCE-PROJECT, which may be the name of another instance. An instance of the default project
// has its name in any case; of others that share one, each gets a suffix of its own.

// owner is the project and instance that a file of a host is about.
func owner(file string) (project, instance string) {
	parts := strings.SplitN(filepath.Base(file), ".", 4)
	if len(parts) < 4 {
		return "", filepath.Base(file)
	}
	return parts[1], parts[2]
}

// suffix tells the instance of a file from others.
func suffix(file string) string {
	h := fnv.New32a()
	project, instance := owner(file)
	_, _ = h.Write([]byte(project + "/" + instance)) // never fails
	return fmt.Sprintf("-%08x", h.Sum32())
}

// label is the name in a host's line, "" without one; head is what comes before it.
func label(line string) (head, name string) {
	line = strings.TrimSuffix(line, "\n")
	i := strings.LastIndexByte(line, ',') + 1
	if strings.ContainsAny(line[i:], ":.[") { // a hardware or IP address
		return line, ""
	}
	return line[:i], line[i:]
}

// natural is a line of a file without the suffix that distinct may have added.
func natural(file, line string) string {
	head, name := label(line)
	if name == "" {
		return line
	}
	return head + strings.TrimSuffix(name, suffix(file)) + "\n"
}

// distinct is the natural lines, by file, with names that no two instances share.
func distinct(lines map[string]string) map[string]string {
	owners := map[string]map[string]bool{}
	for file, line := range lines {
		if _, name := label(line); name != "" {
			if owners[name] == nil {
				owners[name] = map[string]bool{}
			}
			owners[name][suffix(file)] = true
		}
	}
	out := make(map[string]string, len(lines))
	for file, line := range lines {
		head, name := label(line)
		project, _ := owner(file)
		if len(owners[name]) > 1 && project != "" && project != "default" {
			end := suffix(file)
			line = head + name[:min(len(name), maxLabel-len(end))] + end + "\n"
		}
		out[file] = line
	}
	return out
}
