package arch_test

import (
	"fmt"
	"slices"
	"strings"
)

// fixtures are all samples, by the rule that they are about.
func fixtures() []fixture {
	return slices.Concat(layerFixtures(), sizeFixtures(), docFixtures(), stateFixtures(), textFixtures())
}

func layerFixtures() []fixture {
	imports := func(dir, target string) map[string]string {
		return map[string]string{dir + "/x.go": file(fmt.Sprintf("import _ %q", target))}
	}
	var out []fixture
	for _, c := range []struct {
		dir, target string
		ok          bool
	}{
		{"internal/store", "lxd/internal/instance", false},
		{"internal/storage", "lxd/internal/network", true},
		{"internal/network", "lxd/internal/storage", false},
		{"internal/machine", "lxd/internal/device", true},
		{"internal/instance", "lxd/internal/machine", true},
		{"internal/rest", "lxd/internal/auth", true},
		{"internal/auth", "lxd/internal/rest", false},
		{"internal/admin", "lxd/internal/rest", false},
		{"internal/store/etcd", "lxd/internal/store", true},
		{"internal/host/mount", "lxd/internal/host/run", true},
		{"internal/driver/storage/dir", "lxd/internal/storage", true},
		{"internal/driver/storage/dir", "lxd/internal/host/mount", true},
		{"internal/driver/storage/dir", "lxd/internal/driver/storage/dir/overlay", true},
		{"internal/driver/storage/dir", "lxd/internal/driver/storage/zfs", false},
		{"internal/driver/storage/dir", "lxd/internal/network", false},
		{"internal/driver/firewall/nft", "lxd/internal/network", true},
		{"internal/driver/device/nic", "lxd/internal/network", true},
		{"internal/driver/device/nic", "lxd/internal/instance", false},
		{"internal/driver/all", "lxd/internal/driver/storage/dir", true},
		{"internal/cli", "lxd/client", true},
		{"internal/cli", "lxd/internal/errs", false},
		{"api", "lxd/internal/errs", false},
		{"client", "lxd/api", true},
		{"client", "lxd/internal/rest", false},
		{"cmd/lxd", "lxd/internal/app", true},
		{"cmd/lxd", "lxd/internal/store", false},
		{"internal/app", "lxd/internal/endpoint", true},
		{"internal/app", "lxd/internal/cli", false},
	} {
		f := fixture{check: "layers", what: c.dir + " to " + c.target, files: imports(c.dir, c.target)}
		if !c.ok {
			f.want = []string{"must not import"}
		}
		out = append(out, f)
	}
	return append(out, fixture{"layers", "a folder without rank", imports("internal/utils", "fmt"), []string{"has no rank"}})
}

func sizeFixtures() []fixture {
	in := func(body string) map[string]string { return map[string]string{"internal/op/x.go": file(body)} }
	many := map[string]string{"internal/op/made_gen.go": file("")}
	for i := range 26 {
		many[fmt.Sprintf("internal/op/f%d.go", i)] = file("")
	}
	long := "func long() {\n" + repeat("_ = 1", 70) + "}"
	deep := func(n int) string { return "func deep() {\n" + repeat("if x {", n) + repeat("}", n) + "}" }
	return []fixture{
		{"functions", "long", in(long), []string{"long has 72 lines"}},
		{"functions", "a table", in("func table() []int {\n\treturn []int{\n" + repeat("1,", 80) + "}\n}"), nil},
		{"functions", "a contract suite", map[string]string{"internal/op/optest/x.go": strings.Replace(file(long), "package p", "package optest", 1)}, nil},
		{"functions", "a test", map[string]string{"internal/op/x_test.go": file(long)}, nil},
		{"functions", "complex", in("func knot() {\n" + repeat("if x && y {}", 8) + "}"), []string{"complexity of 17"}},
		{"functions", "deep", in(deep(5)), []string{"nests 5 deep"}},
		{"functions", "just not too deep", in(deep(4)), nil},
		{"functions", "a chain of else", in("func chain() {\n" + strings.Repeat("if x {} else ", 8) + "{}\n}"), nil},
		{"files", "long", in(repeat("// text", 600)), []string{"604 lines"}},
		{"files", "a long table", in("var table = []int{\n" + repeat("1,", 700) + "}"), nil},
		{"files", "a long main", map[string]string{"cmd/lxd/main.go": file(repeat("// text", 60))}, []string{"in a main"}},
		{"files", "many", many, []string{"26 files"}},
		{"interfaces", "wide", in("type wide interface {\n" + repeat("M()", 11) + "}"), []string{"wide has 11 methods"}},
		{"interfaces", "wide enough", in("type wide interface {\n" + repeat("M()", 10) + "}"), nil},
		{"params", "many", in("func f(ctx context.Context, a, b, c, d, e int) {}"), []string{"f takes 5"}},
		{"params", "many in an interface", in("type i interface { M(a, b, c, d, e int) }"), []string{"M takes 5"}},
		{"params", "four after the context", in("func f(ctx context.Context, a, b, c, d int) {}"), nil},
		{"helper", "long", map[string]string{"helper/lxd-lxc/a.c": repeat("x", 600), "helper/lxd-lxc/b.c": repeat("x", 401)}, []string{"1001 lines of C"}},
	}
}

func docFixtures() []fixture {
	in := func(body string) map[string]string { return map[string]string{"a/a.go": file(body)} }
	return []fixture{
		{"documented", "package", map[string]string{"a/a.go": "package a\n", "a/b.go": "package a\n"}, []string{"a: the package"}},
		{"documented", "function", in("func F() {}"), []string{"F has no comment"}},
		{"documented", "type, method, value", in("type T struct{}\n\nfunc (T) M() {}\n\nconst C = 1"), []string{"T has", "M has", "C has"}},
		{"documented", "types of a group", in("// Two types.\ntype (\n\tA int\n\tB int\n)"), []string{"A has", "B has"}},
		{"documented", "what needs none", in("type t struct{}\n\nfunc (t) M() {}\n\n// Values.\nconst (\n\tA = 1\n)\n\n// E is one.\ntype E struct{}\n\nfunc (E) Error() string { return \"\" }"), nil},
	}
}

func stateFixtures() []fixture {
	in := func(body string) map[string]string { return map[string]string{"a/a.go": file(body)} }
	return []fixture{
		{"no init", "init", in("func init() {}"), []string{"init functions"}},
		{"no init", "a method of that name", in("type t int\n\nfunc (t) init() {}"), nil},
		{"global state", "no value", in("var mu sync.Mutex"), []string{"mu has no value"}},
		{"global state", "empty", in("var a, b, c = map[string]int{}, make(chan int), &T{}"), []string{"a starts", "b starts"}},
		{"global state", "assigned elsewhere", map[string]string{
			"a/a.go": file("var names = []string{\"a\"}\n\nvar n = 1"),
			"a/b.go": file("func f() { names[0] = \"b\"; n++ }"),
		}, []string{"names is assigned", "n is assigned"}},
		{"global state", "address taken", in("var n = 1\n\nfunc f() *int { return &n }"), []string{"n is used by address"}},
		{"global state", "shadowed", in("var n = 1\n\nfunc f() { n := 2; n = 3; _ = n }"), nil},
		{"global state", "tables", in("var errGone = errors.New(\"gone\")\n\nvar _ I = T{}\n\nvar empty = [...]string{}\n\n//go:embed x.txt\nvar text string\n\nvar byName = map[string]int{\"a\": 1}"), nil},
	}
}

func textFixtures() []fixture {
	in := func(dir, body string) map[string]string { return map[string]string{dir + "/a.go": file(body)} }
	return []fixture{
		{"exec", "import", in("internal/op", "import \"os/exec\""), []string{"host/run"}},
		{"exec", "a call", in("internal/op", "func f() { os.StartProcess() }"), []string{"host/run"}},
		{"exec", "where it belongs", in("internal/host/run", "import \"os/exec\""), nil},
		{"words", "path and host", map[string]string{
			"doc/a.md": "see /wor" + "k/shared/x\nfine\n", "Makefile": "GOPROXY=proxy.gola" + "ng.org\n", "b.txt": "as is" + "sue 12 says\n",
		}, []string{"doc/a.md:1", "Makefile:1", "b.txt:1"}},
		{"words", "lawful ones", map[string]string{"a.md": "the lxd-agent keeps an OIDC session; network issues happen; /var/tmp is used\n"}, nil},
		{"proven", "no script", map[string]string{"test/script/a.txtar": "# ext: network\n"}, []string{"instances is advertised"}},
		{"proven", "a script", map[string]string{"test/script/a/b.txtar": "# ext: network, instances\n"}, nil},
	}
}
