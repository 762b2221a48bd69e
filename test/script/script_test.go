//go:build system

// Package script runs the scripts below this folder, one folder an area, against the built binaries.
package script

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/test/harness"
)

func TestScripts(t *testing.T) {
	areas, err := filepath.Glob("*/*.txtar")
	if err != nil || len(areas) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range areas {
		t.Run(file, func(t *testing.T) {
			d := harness.New(t)
			d.Start()
			d.Init()
			d.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
			p := harness.Params("", func(env *testscript.Env) error {
				env.Setenv("LXD_DIR", d.Dir)
				env.Setenv("LXD_CONF", env.WorkDir+"/conf")
				env.Setenv("NETNS", d.Netns)
				env.Setenv("PATH", harness.Bin(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
				return nil
			})
			p.Dir, p.Files = "", []string{file}
			testscript.Run(t, p)
		})
	}
}
