package fake

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"lxd/internal/machine"
)

// folders are those that a machine has.
var folders = []string{"/", "/root", "/etc", "/run", "/tmp"}

// files are those that a machine has.
var files = map[string]string{"/run/ready": "\n", "/etc/os-release": "ID=fake\nPRETTY_NAME=\"Fake 1\"\n"}

// endings are the programs that end the machine, and whether it wants to start again.
var endings = map[string]bool{"reboot": true, "poweroff": false, "halt": false}

// call runs the program of c and returns its exit code.
func call(p *process, c machine.Command) int {
	name := c.Args[0]
	if i := strings.LastIndexByte(name, '/'); i >= 0 && (strings.HasPrefix(name, "/bin/") || strings.HasPrefix(name, "/usr/bin/")) {
		name = name[i+1:]
	}
	if text, ok := says(p, c, name); ok {
		return printed(fmt.Fprint(p.out, text))
	}
	switch name {
	case "false":
		return 1
	case "cat":
		return cat(p, c.Args[1:])
	case "sleep":
		return sleep(p, c.Args[1:])
	case "sh":
		return shell(p, c)
	}
	for _, dir := range folders {
		if name == dir {
			return 126
		}
	}
	return 127
}

// says is what the programs write that do nothing else.
func says(p *process, c machine.Command, name string) (string, bool) {
	switch name {
	case "true", "reboot", "poweroff", "halt":
		return "", true
	case "echo":
		return strings.Join(c.Args[1:], " ") + "\n", true
	case "pwd":
		return c.Dir + "\n", true
	case "env":
		return strings.Join(append(c.Env, ""), "\n"), true
	case "id":
		return strconv.FormatUint(uint64(c.UID), 10) + "\n", true
	case "hostname":
		return p.guest.plan.Name + "\n", true
	}
	return "", false
}

func printed(_ int, err error) int {
	if err != nil {
		return 1
	}
	return 0
}

func cat(p *process, names []string) int {
	if len(names) == 0 {
		if _, err := io.Copy(struct{ io.Writer }{p.out}, p.in); err != nil {
			return 1
		}
	}
	for _, name := range names {
		text, ok := files[name]
		if !ok {
			text, ok = p.guest.read(name)
		}
		if !ok {
			_, _ = fmt.Fprintf(p.err, "cat: can't open '%s': No such file or directory\n", name) // the code says it too
			return 1
		}
		if printed(fmt.Fprint(p.out, text)) != 0 {
			return 1
		}
	}
	return 0
}

func sleep(p *process, args []string) int {
	if len(args) != 1 {
		return 1
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil {
		return 1
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-p.ctx.Done():
	}
	return 0
}

// shell runs "sh -c" with commands that are separated by semicolons, without quoting or variables.
func shell(p *process, c machine.Command) int {
	if len(c.Args) < 3 || c.Args[1] != "-c" {
		return 2
	}
	code := 0
	for line := range strings.SplitSeq(c.Args[2], ";") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "exit" {
			if len(words) > 1 {
				code, _ = strconv.Atoi(words[1]) // 0 for what is no number
			}
			return code & 0xff
		}
		one := c
		one.Args = words
		if code = call(p, one); p.ctx.Err() != nil {
			return code
		}
	}
	return code
}
