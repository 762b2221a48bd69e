package nft

import "lxd/internal/network"

// RenderGuard and RenderFilter are the rules as text.
func RenderGuard(table string, g network.Guard) string {
	return render("inet", table, guardChains(g, groupOf(table)))
}

func RenderFilter(table string, f network.Filter) (string, error) {
	chains, err := filterChains(f)
	return render("bridge", table, chains), err
}
