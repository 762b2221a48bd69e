package nft

import (
	"lxd/internal/network"
	"lxd/internal/network/forward"
)

// RenderGuard and RenderFilter are the rules as text.
func RenderGuard(table string, g network.Guard) string {
	return render("inet", table, guardChains(g, groupOf(table)))
}

func RenderFilter(table string, f network.Filter) (string, error) {
	chains, err := filterChains(f)
	return render("bridge", table, chains), err
}

// RenderTranslation is the rules of a proxy as text.
func RenderTranslation(table, name string, r forward.Rule) string {
	return render("inet", table, translateChains(name, r))
}
