//go:build system

package system

import (
	"fmt"
	"os"
	"testing"

	"lxd/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := harness.Clean(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
