package limit

import (
	"fmt"
	"strings"

	"lxd/internal/project"
)

// hostIDs refuses lines of raw.idmap, such as "both 1000 0", whose ids of the host are not all in the project's ranges.
func (r rules) hostIDs(object, text string) (all []Violation) {
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var kinds []string
		for _, kind := range []string{"uid", "gid"} {
			if f[0] == kind || f[0] == "both" {
				kinds = append(kinds, kind)
			}
		}
		if len(f) != 3 || len(kinds) == 0 {
			return append(all, never(object, fmt.Sprintf("its raw.idmap has a line that cannot be read, %q", brief(line))))
		}
		for _, kind := range kinds {
			key := "restricted.idmap." + kind
			if !r.mappable(key, f[1]) {
				all = append(all, r.no(key, object, fmt.Sprintf("its raw.idmap takes the host's %s %s", kind, f[1]), "ranges that hold these"))
			}
		}
	}
	return all
}

// mappable tells whether ids are within one range of the list that a key has.
func (r rules) mappable(key, ids string) bool {
	want, err := project.ParseIDs(ids)
	if err != nil {
		return false
	}
	for _, text := range r.list(key) {
		if have, err := project.ParseIDs(text); err == nil && have.First <= want.First && want.Last <= have.Last {
			return true
		}
	}
	return false
}
