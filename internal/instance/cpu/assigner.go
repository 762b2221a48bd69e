// Package cpu knows sets of CPUs, and shares out those of the host.
package cpu

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
)

// Assigner spreads the instances that ask for a number of CPUs over those that there are. The zero value is ready.
type Assigner struct {
	mu sync.Mutex
	// given is the set that each running instance was given, by its key.
	given map[string][]int
}

// Assign turns "limits.cpu" into a CPU list for the instance: a set stays as it is, a count becomes the least used CPUs.
// An instance that was given as many before keeps them.
func (a *Assigner) Assign(key, want string, online []int) string {
	count, err := strconv.Atoi(want)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.given, key)
		return want
	}
	count = min(count, len(online))
	if old := a.given[key]; len(old) == count {
		return Text(old)
	}
	delete(a.given, key)
	load := map[int]int{}
	for _, set := range a.given {
		for _, n := range set {
			load[n]++
		}
	}
	free := slices.Clone(online)
	slices.SortStableFunc(free, func(x, y int) int { return cmp.Compare(load[x], load[y]) })
	if a.given == nil {
		a.given = map[string][]int{}
	}
	a.given[key] = free[:count]
	return Text(free[:count])
}

// Restore remembers what a machine was given that runs since before the daemon started.
func (a *Assigner) Restore(key, set string) {
	list, err := Parse(set)
	if set == "" || err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given == nil {
		a.given = map[string][]int{}
	}
	a.given[key] = list
}

// Release forgets what a machine was given.
func (a *Assigner) Release(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.given, key)
}
