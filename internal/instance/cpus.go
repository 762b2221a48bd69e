package instance

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
)

// cpus spreads the instances that ask for a number of CPUs over those that there are.
type cpus struct {
	mu sync.Mutex
	// given is the set that each running instance was given, by its key.
	given map[string][]int
}

// assign turns "limits.cpu" into a CPU list for the instance: a set stays as it is, a count becomes the least used CPUs.
// An instance that was given as many before keeps them.
func (c *cpus) assign(key, want string, online []int) string {
	count, err := strconv.Atoi(want)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.given, key)
		return want
	}
	count = min(count, len(online))
	if old := c.given[key]; len(old) == count {
		return setText(old)
	}
	delete(c.given, key)
	load := map[int]int{}
	for _, set := range c.given {
		for _, n := range set {
			load[n]++
		}
	}
	free := slices.Clone(online)
	slices.SortStableFunc(free, func(a, b int) int { return cmp.Compare(load[a], load[b]) })
	if c.given == nil {
		c.given = map[string][]int{}
	}
	c.given[key] = free[:count]
	return setText(free[:count])
}

// restore remembers what a machine was given that runs since before the daemon started.
func (c *cpus) restore(key, set string) {
	list, err := parseSet(set)
	if set == "" || err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.given == nil {
		c.given = map[string][]int{}
	}
	c.given[key] = list
}

// release forgets what a machine was given.
func (c *cpus) release(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.given, key)
}
