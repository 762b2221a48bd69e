package arch_test

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lxd/internal/arch"
)

// unannounced are the lifecycle events of features that are not built, by the beginning of their names. Whoever builds one takes its line away.
var unannounced = []string{
	"cluster-", "network-load-balancer-", "network-peer-", "network-zone-", "placement-group-", "storage-bucket-",
}

// TestLifecycleEvents compares the published lifecycle events with those that the program announces.
func TestLifecycleEvents(t *testing.T) {
	tree, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	published, used := lifecycleEvents(tree)
	if len(published) != 136 {
		t.Errorf("%d lifecycle events are published", len(published))
	}
	matched := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(published)) {
		action := published[name]
		i := slices.IndexFunc(unannounced, func(prefix string) bool { return strings.HasPrefix(action, prefix) })
		switch {
		case i < 0 && !used[name]:
			t.Errorf("%s is never announced", action)
		case i >= 0 && used[name]:
			t.Errorf("%s is announced: take it out of the list of those that are not", action)
		case i >= 0:
			matched[unannounced[i]] = true
		}
	}
	for _, prefix := range unannounced {
		if !matched[prefix] {
			t.Errorf("%s matches nothing", prefix)
		}
	}
}

// unraised are the warnings about what is not built: clusters, virtual machines, MAAS, profiles of AppArmor for dnsmasq.
var unraised = []string{
	"UndefinedWarning", "TimeSkewDetectedBetweenLeaderAndLocal", "MissingVirtiofsd", "UnableToConnectToMAAS",
	"SkippingAppArmorForDnsmasqDueToRawDnsmasqBeingSet", "OfflineClusterMember",
}

// TestWarnings compares the published types of warnings with those that the program raises.
func TestWarnings(t *testing.T) {
	tree, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	_, used := lifecycleEvents(tree)
	published := 0
	for _, f := range tree.Go {
		if f.Test || f.Dir() != "api" {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "WarningType" {
				published++
				name := strings.TrimPrefix(v.Names[0].Name, "Warning")
				if used["Warning"+name] == slices.Contains(unraised, name) {
					t.Errorf("%s: raised %t; whoever raises it takes it out of the list of those that are not", name, used["Warning"+name])
				}
			}
			return true
		})
	}
	if published != 26 {
		t.Errorf("%d types of warnings are published", published)
	}
}

// lifecycleEvents finds the published events by the names of their constants, and the names that the program uses.
func lifecycleEvents(tree *arch.Tree) (published map[string]string, used map[string]bool) {
	published, used = map[string]string{}, map[string]bool{}
	for _, f := range tree.Go {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if f.Dir() == "api" && len(n.Values) == 1 && strings.HasPrefix(n.Names[0].Name, "Lifecycle") {
					if lit, ok := n.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
						published[n.Names[0].Name], _ = strconv.Unquote(lit.Value)
					}
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "api" && strings.HasPrefix(f.Path, "internal/") {
					used[n.Sel.Name] = true
				}
			}
			return true
		})
	}
	return published, used
}
