package syslog

import (
	"encoding/json"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/event"
)

// levels are the wire names of the levels of events, by severity.
var levels = [8]string{"error", "error", "error", "error", "warning", "info", "info", "debug"}

// Level is the level of a message as events have it.
func (m Message) Level() string { return levels[m.Severity&7] }

// OVN tells whether a message is from one of OVN's programs.
func (m Message) OVN() bool {
	return strings.HasPrefix(m.App, "ovn-") || strings.HasPrefix(m.App, "ovs-") || strings.HasPrefix(m.App, "ovsdb") || strings.HasPrefix(m.Text, "ovs|")
}

// Event is the event that tells of the message; now is its time if the sender gave none.
func (m Message) Event(now time.Time) (api.Event, error) {
	fields := map[string]string{}
	for k, v := range map[string]string{"application": m.App, "host": m.Host, "pid": m.PID, "id": m.ID, "data": m.Data} {
		if v != "" {
			fields[k] = v
		}
	}
	ev := api.Event{Type: event.Logging, Timestamp: m.Time}
	text := m.Text
	if m.OVN() {
		ev.Type = event.OVN
		text = m.module(fields)
	}
	if age := now.Sub(m.Time); m.Time.IsZero() || age > 24*time.Hour || age < -time.Hour { // clocks of others may be wrong
		ev.Timestamp = now
	}
	var err error
	ev.Metadata, err = json.Marshal(api.EventLogging{Message: text, Level: m.Level(), Context: fields})
	return ev, err
}

// module takes apart how OVN's programs write: ovs|NUMBER|MODULE|LEVEL|TEXT.
func (m Message) module(fields map[string]string) (text string) {
	part := strings.SplitN(m.Text, "|", 5)
	if len(part) != 5 || part[0] != "ovs" {
		return m.Text
	}
	fields["sequence"], fields["module"] = part[1], part[2]
	return part[4]
}
