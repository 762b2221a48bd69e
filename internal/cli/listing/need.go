// Package listing is the list of instances: its columns, its filters, and the least that must be fetched for them.
package listing

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"lxd/api"
)

// Need says which parts of instances a list is made from, so that no more is fetched and decoded.
type Need uint8

// Parts of instances.
const (
	// NeedObject is more of the instance than the few fields that the usual columns show.
	NeedObject Need = 1 << iota
	// NeedState is the cheap parts of the state, or the number of snapshots.
	NeedState
	// NeedDisk is state.disk.
	NeedDisk
	// NeedNetwork is state.network.
	NeedNetwork
	// NeedAll is everything there is.
	NeedAll = NeedObject | NeedState | NeedDisk | NeedNetwork
)

// Path is the request that fetches what is needed. Servers that cannot leave parts of the state out, those that are not
// selective, are asked for all of it.
func (n Need) Path(selective bool) string {
	level := "1"
	if n&^NeedObject != 0 {
		level = "2"
		if selective && n != NeedAll {
			var fields []string
			if n&NeedDisk != 0 {
				fields = append(fields, "state.disk")
			}
			if n&NeedNetwork != 0 {
				fields = append(fields, "state.network")
			}
			level += ";fields=" + strings.Join(fields, ",")
		}
	}
	return "/1.0/instances?recursion=" + url.QueryEscape(level)
}

// slimInstance is what the usual columns show of an instance. Decoding only that takes a fraction of the time.
type slimInstance struct {
	Name       string         `json:"name"`
	Status     string         `json:"status"`
	StatusCode api.StatusCode `json:"status_code"`
	Location   string         `json:"location"`
	Type       string         `json:"type"`
	Project    string         `json:"project"`
	Ephemeral  bool           `json:"ephemeral"`
	Snapshots  []struct{}     `json:"snapshots"`
	State      *struct {
		Network map[string]api.InstanceStateNetwork `json:"network"`
	} `json:"state"`
}

func (s *slimInstance) full() api.InstanceFull {
	out := api.InstanceFull{Instance: api.Instance{Name: s.Name, Status: s.Status, StatusCode: s.StatusCode, Location: s.Location,
		Type: s.Type, Project: s.Project, Ephemeral: s.Ephemeral}}
	if len(s.Snapshots) > 0 {
		out.Snapshots = make([]api.InstanceSnapshot, len(s.Snapshots))
	}
	if s.State != nil {
		out.State = &api.InstanceState{Network: s.State.Network}
	}
	return out
}

// Decode reads the list of instances in data, as far as it is needed.
func (n Need) Decode(data []byte) ([]api.InstanceFull, error) {
	if n&(NeedObject|NeedDisk) != 0 {
		instances := []api.InstanceFull{}
		err := json.Unmarshal(data, &instances)
		return instances, err
	}
	var slim []slimInstance
	if err := json.Unmarshal(data, &slim); err != nil {
		return nil, fmt.Errorf("the list of instances does not have the expected form: %w", err)
	}
	instances := make([]api.InstanceFull, len(slim))
	for i := range slim {
		instances[i] = slim[i].full()
	}
	return instances, nil
}
