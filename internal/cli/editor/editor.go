// Package editor lets the user change a text with the editor of their choice.
package editor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Streams are what the editor talks to the user through.
type Streams struct {
	// In, Out and Err are the editor's standard streams.
	In       io.Reader
	Out, Err io.Writer
}

// Open lets the user change content with $VISUAL, $EDITOR or vi, and returns what was saved.
func Open(ctx context.Context, s Streams, content []byte) ([]byte, error) {
	program := strings.Fields(cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi"))
	dir, err := os.MkdirTemp("", "lxc-edit-")
	if err != nil {
		return nil, fmt.Errorf("making a file to edit: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "edit.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, fmt.Errorf("making a file to edit: %w", err)
	}
	cmd := exec.CommandContext(ctx, program[0], append(program[1:], path)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running the editor %q (set EDITOR to use another): %w", program[0], err)
	}
	return os.ReadFile(path)
}
