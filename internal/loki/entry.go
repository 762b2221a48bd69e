package loki

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/event"
)

// lineMax is the most that a line may hold, so that no single one fills the queue, and labelMax what a label may: servers refuse longer ones.
const lineMax, labelMax = 64 << 10, 1 << 10

// entry is one line with the labels of its stream.
type entry struct {
	// stream is the labels as JSON, which is the same for the same labels.
	stream string
	at     time.Time
	line   string
}

// size is about what an entry takes in memory and in a request.
func (e entry) size() int { return len(e.stream) + len(e.line) + 64 }

// entry makes an event a line, unless it is not wanted.
func (c Config) entry(ev api.Event) (entry, bool) {
	text, fields, ok := c.read(ev)
	if !ok {
		return entry{}, false
	}
	location := ev.Location
	if location == "" || location == "none" { // so it is called where there is no cluster
		location = c.Location
	}
	labels := map[string]string{"app": "lxd", "type": ev.Type, "location": location, "instance": c.Instance}
	for _, field := range c.Labels {
		name := labelName(field)
		if v := fields[field]; v != "" && labels[name] == "" {
			labels[name] = cut(v, labelMax)
			delete(fields, field)
		}
	}
	stream, err := json.Marshal(labels)
	if err != nil {
		return entry{}, false // strings always marshal
	}
	var line strings.Builder
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		if v := fields[k]; v != "" {
			line.WriteString(k + "=" + strconv.Quote(v) + " ")
		}
	}
	line.WriteString(text)
	return entry{stream: string(stream), at: ev.Timestamp, line: cut(line.String(), lineMax)}, true
}

// cut is at most n bytes of a text, and valid.
func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "�") }

// read is the message of an event and what it tells besides.
func (c Config) read(ev api.Event) (text string, fields map[string]string, ok bool) {
	fields = map[string]string{"project": ev.Project}
	switch ev.Type {
	case event.Logging, event.OVN:
		var e api.EventLogging
		if json.Unmarshal(ev.Metadata, &e) != nil || Severity(e.Level) > Severity(cmp.Or(c.Level, DefaultLevel)) {
			return "", nil, false
		}
		maps.Copy(fields, e.Context)
		fields["level"] = e.Level
		return e.Message, fields, true
	case event.Lifecycle:
		var e api.EventLifecycle
		if json.Unmarshal(ev.Metadata, &e) != nil {
			return "", nil, false
		}
		for k, v := range e.Context {
			fields["context-"+k] = fmt.Sprint(v)
		}
		fields["action"], fields["source"], fields["name"] = e.Action, e.Source, e.Name
		if r := e.Requestor; r != nil {
			fields["requestor-username"], fields["requestor-protocol"], fields["requestor-address"] = r.Username, r.Protocol, r.Address
		}
		return e.Action, fields, true
	}
	return "", nil, false
}

// labelName is a field's name as a label may have it: letters, digits and underscores.
func labelName(field string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, field)
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}
