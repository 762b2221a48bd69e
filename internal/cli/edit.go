package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"lxd/internal/cli/render"
)

// editYAML lets the user edit v, headed by help, and saves the result. A text that is refused is offered again.
func (a *App) editYAML(help string, v any, save func([]byte) error) error {
	var text bytes.Buffer
	text.WriteString(comment(help))
	if err := render.YAML(&text, v); err != nil {
		return err
	}
	content := text.Bytes()
	for {
		edited, err := a.openEditor(content)
		if err != nil {
			return err
		}
		err = save(edited)
		if err == nil || !a.interactive() {
			return err
		}
		fmt.Fprintf(a.Err, "Config parsing error: %v\n", err)
		if _, err := a.ask("Press enter to open the editor again or ctrl+c to abort change\n"); err != nil {
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

// openEditor lets the user change content with $VISUAL, $EDITOR or vi, and returns what was saved.
func (a *App) openEditor(content []byte) ([]byte, error) {
	editor := strings.Fields(cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi"))
	dir, err := os.MkdirTemp("", "lxc-edit-")
	if err != nil {
		return nil, fmt.Errorf("making a file to edit: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "edit.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, fmt.Errorf("making a file to edit: %w", err)
	}
	cmd := exec.CommandContext(a.ctx, editor[0], append(editor[1:], path)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, a.Out, a.Err
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running the editor %q (set EDITOR to use another): %w", editor[0], err)
	}
	return os.ReadFile(path)
}
