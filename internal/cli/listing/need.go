// Package listing is the list of instances: its columns, its filters, and the least that must be fetched for them.
package listing

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"lxd/api"
	"lxd/client/jsonscan"
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

// Decode reads the list of instances in data, as far as it is needed.
func (n Need) Decode(data []byte) ([]api.InstanceFull, error) {
	instances := []api.InstanceFull{}
	if n&(NeedObject|NeedDisk) != 0 {
		err := json.Unmarshal(data, &instances)
		return instances, err
	}
	err := jsonscan.Array(data, func(value []byte) error {
		var i api.InstanceFull
		err := slim(value, &i)
		instances = append(instances, i)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the list of instances does not have the expected form: %w", err)
	}
	return instances, nil
}

// slim reads the few fields that the usual columns show, in a fraction of the time that all of them would take.
func slim(data []byte, i *api.InstanceFull) error {
	return jsonscan.Object(data, func(key, value []byte) error {
		var err error
		switch string(key) {
		case "name":
			i.Name, err = jsonscan.Text(value)
		case "status":
			i.Status, err = jsonscan.Text(value)
		case "location":
			i.Location, err = jsonscan.Text(value)
		case "type":
			i.Type, err = jsonscan.Text(value)
		case "project":
			i.Project, err = jsonscan.Text(value)
		case "ephemeral":
			i.Ephemeral = string(value) == "true"
		case "snapshots":
			err = jsonscan.Array(value, func([]byte) error {
				i.Snapshots = append(i.Snapshots, api.InstanceSnapshot{})
				return nil
			})
		case "state":
			err = slimState(value, i)
		}
		return err
	})
}

// slimState reads the addresses.
func slimState(data []byte, i *api.InstanceFull) error {
	if string(data) == "null" {
		return nil
	}
	i.State = &api.InstanceState{}
	return jsonscan.Object(data, func(key, value []byte) error {
		if string(key) != "network" {
			return nil
		}
		return json.Unmarshal(value, &i.State.Network)
	})
}
