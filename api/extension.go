package api

import "slices"

// Extensions lists every extension of the API in the order in which servers announce them.
func Extensions() []string {
	return slices.Clone(extensions[:])
}

// Advertised lists, in the same order, the extensions that this server announces: those that a test script exercises.
func Advertised() []string {
	tested := map[string]bool{}
	for _, name := range proven {
		tested[name] = true
	}
	var names []string
	for _, name := range extensions {
		if tested[name] {
			names = append(names, name)
		}
	}
	return names
}
