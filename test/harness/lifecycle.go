package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"lxd/api"
)

// sources are the forms that the sources of lifecycle events have, by action, as the published table says.
var sources = sync.OnceValues(func() (map[string]*regexp.Regexp, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if b, err := os.ReadFile(filepath.Join(dir, "spec", "status-codes.tsv")); err == nil {
			return readSources(string(b)), nil
		}
	}
	return nil, os.ErrNotExist
})

var placeholder = regexp.MustCompile(`\\\{[a-zA-Z]+\\\}`)

// readSources makes expressions of lines such as "source=/1.0/profiles/{name}?project".
func readSources(table string) map[string]*regexp.Regexp {
	out := map[string]*regexp.Regexp{}
	for line := range strings.Lines(table) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if col[0] != "lifecycle_event" || len(col) < 5 {
			continue
		}
		form, _, _ := strings.Cut(strings.TrimPrefix(col[4], "source="), " ")
		form, project := strings.CutSuffix(form, "?project")
		text := placeholder.ReplaceAllString(regexp.QuoteMeta(form), `[^/?]+`)
		if project {
			text += `(\?project=[^&]+)?`
		}
		out[col[2]] = regexp.MustCompile("^" + text + "$")
	}
	return out
}

// protocols are how callers are known; strangers, who may have a token, are not.
var protocols = []string{"", "unix", "tls", "oidc", "bearer", "cluster", "pki", "devlxd"}

// checkLifecycle says what is wrong with an event, if it is of that type.
func checkLifecycle(message []byte) error {
	var ev api.Event
	if err := json.Unmarshal(message, &ev); err != nil || ev.Type != "lifecycle" {
		return nil // streams carry other things too
	}
	forms, err := sources()
	if err != nil {
		return err
	}
	var e api.EventLifecycle
	if err := json.Unmarshal(ev.Metadata, &e); err != nil {
		return err
	}
	form := forms[e.Action]
	switch {
	case form == nil:
		return fmt.Errorf("there is no action %q", e.Action)
	case !form.MatchString(e.Source):
		return fmt.Errorf("the source of %s is %s, want %s", e.Action, e.Source, form)
	case ev.Location == "" || ev.Timestamp.IsZero():
		return fmt.Errorf("%s is at %q, %s", e.Action, ev.Location, ev.Timestamp)
	case ev.Project != e.Project:
		return fmt.Errorf("%s is of the project %q and %q", e.Action, ev.Project, e.Project)
	}
	if !requested(e.Requestor) {
		return fmt.Errorf("%s is by %+v", e.Action, *e.Requestor)
	}
	if !strings.Contains(form.String(), `\?project`) {
		return nil
	}
	if _, query, _ := strings.Cut(e.Source, "?"); e.Project == "" || e.Name == "" || (e.Project == "default") != (query == "") {
		return fmt.Errorf("%s of %q in %q has the source %s", e.Action, e.Name, e.Project, e.Source)
	}
	return nil
}

// requested tells whether a requestor is well described; what the daemon does by itself has none.
func requested(r *api.EventLifecycleRequestor) bool {
	return r == nil || r.Address != "" && slices.Contains(protocols, r.Protocol) && (r.Username == "") == (r.Protocol == "")
}
