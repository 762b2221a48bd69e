package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// lookTime is the most that finding out the state of one instance may take.
const lookTime = 2 * time.Second

// State finds out what an instance does and uses right now.
func (s *Service) State(ctx context.Context, proj, name string) (api.InstanceState, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return api.InstanceState{}, err
	}
	return s.look(ctx, v, Fields{Disk: true, Network: true}), nil
}

// Full loads one instance with its state and what If-Match guards of it.
func (s *Service) Full(ctx context.Context, proj, name string, f Fields) (api.InstanceFull, any, error) {
	a, etag, err := s.Get(ctx, proj, name)
	if err != nil {
		return api.InstanceFull{}, nil, err
	}
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return api.InstanceFull{}, nil, err
	}
	snapshots, _, err := s.ListSnapshots(ctx, proj, name)
	if err != nil {
		return api.InstanceFull{}, nil, err
	}
	state := s.look(ctx, v, f)
	return api.InstanceFull{Instance: a, Snapshots: snapshots, State: &state}, etag, nil
}

// look reads the state of one instance; parts that cannot be read in time are left out.
func (s *Service) look(ctx context.Context, v view, f Fields) api.InstanceState {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	code := s.status(v.key())
	state := api.InstanceState{Status: code.String(), StatusCode: code}
	if f.Disk {
		state.Disk = s.disk(ctx, v)
	}
	r := s.live.get(v.key())
	if r == nil || code == api.StatusStopped {
		return state
	}
	u, err := r.m.Usage(ctx)
	if err != nil {
		if !r.over() {
			slog.Warn("Could not read the state of an instance", "instance", v.key(), "err", err)
		}
		return state
	}
	fill(&state, u, s.memoryTotal(r))
	if f.Network {
		state.Network = networks(u.Networks)
	}
	return state
}

// disk is the usage of the root disk, where it can be known.
func (s *Service) disk(ctx context.Context, v view) map[string]api.InstanceStateDisk {
	disks := map[string]api.InstanceStateDisk{}
	root := rootDevice(v.devices)
	if root == "" {
		return disks
	}
	used, total, err := s.d.Volumes.VolumeUsage(ctx, v.Pool, s.volume(v))
	if err == nil {
		disks[root] = api.InstanceStateDisk{Usage: used, Total: total}
	} else if !errs.Is(err, errs.Unsupported) {
		slog.Debug("Could not read the usage of a root disk", "instance", v.key(), "err", err)
	}
	return disks
}

func (s *Service) memoryTotal(r *running) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.limits.MemoryBytes; n > 0 {
		return min(n, s.d.Host.Memory)
	}
	return s.d.Host.Memory
}

// fill takes over counters; those that are unknown are 0 on the wire.
func fill(state *api.InstanceState, u machine.Usage, totalMemory int64) {
	state.Pid, state.Processes = int64(u.PID), u.Processes
	state.CPU.Usage = max(u.CPUNanos, 0)
	state.Memory = api.InstanceStateMemory{
		Usage: max(u.MemoryBytes, 0), UsagePeak: max(u.MemoryPeak, 0), Total: totalMemory,
		SwapUsage: max(u.SwapBytes, 0), SwapUsagePeak: max(u.SwapPeak, 0),
	}
}

func networks(all []machine.Interface) map[string]api.InstanceStateNetwork {
	out := make(map[string]api.InstanceStateNetwork, len(all))
	for _, i := range all {
		n := api.InstanceStateNetwork{
			Addresses: []api.InstanceStateNetworkAddress{}, Hwaddr: i.Hwaddr, HostName: i.HostName, Mtu: int64(i.MTU), State: i.State, Type: i.Type,
			Counters: api.InstanceStateNetworkCounters{
				BytesReceived: i.BytesIn, BytesSent: i.BytesOut, PacketsReceived: i.PktsIn, PacketsSent: i.PktsOut,
				ErrorsReceived: i.ErrorsIn, ErrorsSent: i.ErrorsOut, PacketsDroppedInbound: i.DropIn, PacketsDroppedOutbound: i.DropOut,
			},
		}
		for _, a := range i.Addresses {
			n.Addresses = append(n.Addresses, api.InstanceStateNetworkAddress{
				Family: a.Family, Address: a.Address, Netmask: strconv.Itoa(a.Netmask), Scope: a.Scope,
			})
		}
		out[i.Name] = n
	}
	return out
}

// fillStates reads the states of a list, several at a time. Most instances of a long list are stopped and in pools that do not
// measure: those share one state.
func (s *Service) fillStates(ctx context.Context, all []*Shown, f Fields) {
	measured := map[string]bool{}
	var busy []*Shown
	idle := map[api.StatusCode][]byte{}
	for _, sh := range all {
		if sh.code != api.StatusStopped || f.Disk && s.measures(ctx, sh, measured) {
			busy = append(busy, sh)
			continue
		}
		sh.state = idleState(sh.code, f)
		if idle[sh.code] == nil {
			idle[sh.code], _ = json.Marshal(sh.state) // plain values always marshal
		}
		sh.tail = idle[sh.code]
	}
	parallel(busy, func(sh *Shown) {
		sh.v.expand()
		state := s.look(ctx, sh.v, f)
		sh.state = &state
	})
}

// measures tells whether the pool of the instance can tell the usage of its volumes; known holds the pools asked before.
func (s *Service) measures(ctx context.Context, sh *Shown, known map[string]bool) bool {
	can, ok := known[sh.v.Pool]
	if !ok {
		sh.v.expand()
		_, _, err := s.d.Volumes.VolumeUsage(ctx, sh.v.Pool, s.volume(sh.v))
		can = !errs.Is(err, errs.Unsupported)
		known[sh.v.Pool] = can
	}
	return can
}

// idleState is the state of an instance of which nothing is to be read.
func idleState(code api.StatusCode, f Fields) *api.InstanceState {
	state := &api.InstanceState{Status: code.String(), StatusCode: code}
	if f.Disk {
		state.Disk = map[string]api.InstanceStateDisk{}
	}
	return state
}

// SetStates returns the work that brings those instances of a project into a state whose names may tells; those that are in it stay
// as they are.
func (s *Service) SetStates(ctx context.Context, proj string, may func(name string) bool, put api.InstanceStatePut) (op.Spec, error) {
	if _, err := s.changer(put); err != nil {
		return op.Spec{}, err
	}
	names := map[string]bool{}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for _, r := range Collection.AllRev(tx, proj+"/") {
			names[r.Name] = may(r.Name)
		}
		return nil
	})
	if err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "instances-state", Description: api.OperationUpdatingTheStateOfMultipleInstances.String(), Project: proj,
		Resources: map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", proj)}},
		Run:       func(ctx context.Context, _ *op.Task) error { return s.setStates(ctx, proj, names, put) },
	}, nil
}

func (s *Service) setStates(ctx context.Context, proj string, names map[string]bool, put api.InstanceStatePut) error {
	var all []Record
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for _, r := range Collection.AllRev(tx, proj+"/") {
			if names[r.Name] && r.Location == s.d.Location && s.concerned(put.Action, r.key()) {
				all = append(all, r)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var failures []error
	parallel(all, func(r Record) {
		if err := s.setOne(ctx, r, put); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, fmt.Errorf("instance %q: %w", r.Name, err))
		}
	})
	return errors.Join(failures...)
}

// concerned tells whether an action would change an instance.
func (s *Service) concerned(action, key string) bool {
	code := s.status(key)
	switch action {
	case "start":
		return !runs(code)
	case "unfreeze":
		return code == api.StatusFrozen
	case "freeze":
		return runs(code)
	}
	return code != api.StatusStopped
}

// setOne runs the work for one instance as an operation of its own, so that its lock and recovery are those of any other.
func (s *Service) setOne(ctx context.Context, r Record, put api.InstanceStatePut) error {
	work, err := s.changer(put)
	if err != nil {
		return err
	}
	o, err := s.d.Ops.Start(ctx, work(r))
	if err != nil {
		return err
	}
	return o.Wait(ctx)
}

// Metered is an instance of this member whose machine can be measured.
type Metered struct {
	Project, Name string
	Meter         machine.Meter
}

// Meters are the machines that run here and can be measured, by project and name.
func (s *Service) Meters() (out []Metered) {
	all := s.live.snapshot()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		proj, name, _ := strings.Cut(key, "/")
		if m, ok := all[key].m.(machine.Meter); ok && !all[key].over() {
			out = append(out, Metered{Project: proj, Name: name, Meter: m})
		}
	}
	return out
}

// runs tells of an instance that runs and is not frozen.
func runs(code api.StatusCode) bool { return code == api.StatusRunning || code == api.StatusReady }

// Guest is an instance as it may see itself.
type Guest struct {
	Project, Name, Location string
	Type                    api.InstanceType
	Ready                   bool
	// Config and Devices have what its profiles add to them; NICs have their addresses.
	Config  map[string]string
	Devices Devices
}

// Guest is what a running instance may see of itself. It fails with Forbidden if it may not see anything.
func (s *Service) Guest(ctx context.Context, proj, name string) (Guest, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return Guest{}, err
	}
	if !Keys.Bool(v.config, "security.devlxd") {
		return Guest{}, errs.Newf(errs.Forbidden, "security.devlxd is off for this instance")
	}
	g := Guest{Project: proj, Name: name, Location: cmp.Or(v.Location, "none"), Type: v.Type, Config: v.config, Devices: Devices{}}
	for dev, cfg := range v.devices {
		if addr := v.config["volatile."+dev+".hwaddr"]; cfg["type"] == "nic" && cfg["hwaddr"] == "" && addr != "" {
			cfg = merged(cfg, map[string]string{"hwaddr": addr})
		}
		g.Devices[dev] = cfg
	}
	if r := s.live.get(v.key()); r != nil {
		g.Ready = r.ready.Load()
	}
	return g, nil
}

// Namespace opens a namespace of a running instance, named as in /proc/PID/ns. It fails with Unavailable if the instance does not run.
func (s *Service) Namespace(proj, name, kind string) (*os.File, error) {
	if r := s.live.get(Key(proj, name)); r != nil && !r.over() {
		if m, ok := r.m.(machine.Namespacer); ok {
			ns, err := m.Namespace(kind)
			if errs.Is(err, errs.NotFound) {
				err = errs.As(errs.Unavailable, err)
			}
			return ns, err
		}
	}
	return nil, errs.Newf(errs.Unavailable, "the instance does not run")
}

// SetReady notes whether a running instance says of itself that it is ready.
func (s *Service) SetReady(ctx context.Context, proj, name string, ready bool) error {
	r := s.live.get(Key(proj, name))
	if r == nil || r.over() {
		return errs.Newf(errs.Unavailable, "the instance does not run")
	}
	r.readying.Lock()
	defer r.readying.Unlock()
	if r.ready.Load() == ready {
		return nil
	}
	err := s.d.Store.Update(ctx, func(tx store.Tx) error {
		rec, err := Collection.Get(tx, r.key)
		if err != nil {
			return err
		}
		if ready {
			tx.Announce(change(ctx, api.LifecycleInstanceReady, rec))
		}
		return Collection.Modify(tx, r.key, func(rec *Record) error {
			rec.setVolatile(map[string]string{"volatile.last_state.ready": strconv.FormatBool(ready)})
			return nil
		})
	})
	if err == nil {
		r.ready.Store(ready)
	}
	return err
}

// socket is where an instance finds the server.
func (s *Service) socket(v view) Socket {
	at := Socket{Project: v.Project, Name: v.Name, Dir: filepath.Join(s.runDir(v.Record), "devlxd")}
	if host, ok := owners(s.idmap(v)).Host(0); ok {
		at.Owner = int(host)
	}
	return at
}

// openSocket makes the socket of an instance that is about to run, and returns its folder; "" if it is to have none.
func (s *Service) openSocket(v view) (string, error) {
	if s.d.Guests == nil || !Keys.Bool(v.config, "security.devlxd") {
		return "", nil
	}
	at := s.socket(v)
	if err := s.d.Guests.Open(at); err != nil {
		return "", fmt.Errorf("make the instance's socket: %w", err)
	}
	return at.Dir, nil
}

// openSocketAgain listens for an instance that was started by an earlier daemon with a socket.
func (s *Service) openSocketAgain(v view) {
	at := s.socket(v)
	if _, err := os.Stat(at.Dir); s.d.Guests == nil || err != nil {
		return
	}
	if err := s.d.Guests.Open(at); err != nil {
		slog.Error("A running instance cannot reach the server through /dev/lxd until it is restarted", "instance", v.key(), "err", err)
	}
}

func (s *Service) closeSocket(v view) error {
	if s.d.Guests == nil {
		return nil
	}
	return s.d.Guests.Close(s.socket(v).Dir)
}
