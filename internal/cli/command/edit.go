package command

import (
	"bytes"
	"fmt"
	"strings"

	"lxd/internal/cli/editor"
	"lxd/internal/cli/render"
)

// EditYAML lets the user edit v, headed by help, and saves the result. A text that is refused is offered again.
func (a *App) EditYAML(help string, v any, save func([]byte) error) error {
	var text bytes.Buffer
	text.WriteString(comment(help))
	if err := render.YAML(&text, v); err != nil {
		return err
	}
	content := text.Bytes()
	for {
		edited, err := editor.Open(a.Ctx, editor.Streams{In: a.In, Out: a.Out, Err: a.Err}, content)
		if err != nil {
			return err
		}
		err = save(edited)
		if err == nil || !a.Interactive() {
			return err
		}
		fmt.Fprintf(a.Err, "Config parsing error: %v\n", err)
		if _, err := a.Ask("Press enter to open the editor again or ctrl+c to abort change\n"); err != nil {
			return err
		}
		content = edited
	}
}

// comment is help as comment lines in front of a document.
func comment(help string) string {
	if help == "" {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(help), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight("### "+line, " ")
	}
	return strings.Join(lines, "\n") + "\n\n"
}
