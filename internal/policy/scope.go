package policy

import (
	"maps"
	"slices"
	"strings"

	"lxd/internal/backup"
	volumebackup "lxd/internal/backup/volume"
	"lxd/internal/image"
	"lxd/internal/instance"
	"lxd/internal/network"
	"lxd/internal/network/forward"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// scope is what a transaction touches in one project.
type scope struct {
	// whole says that the project's rules change; count that its objects are counted even if nothing limits them.
	whole, count bool
	// instances, profiles and networks are keys of those that may have become something else.
	instances, profiles, networks map[string]bool
	// snapshots and backups are keys of those that are written or deleted, by collection.
	snapshots, backups map[string][]string
	// made are the names of those that are new.
	madeSnapshots, madeBackups []string
}

// old is the scope for a look at how things were.
func (s *scope) old() *scope {
	return &scope{count: s.count, instances: s.instances, profiles: s.profiles, networks: s.networks}
}

// concern finds out which projects a transaction concerns.
type concern struct {
	before, after store.Tx
	byProject     map[string]*scope
}

func (c *concern) of(name string) *scope {
	s := c.byProject[name]
	if s == nil {
		s = &scope{instances: map[string]bool{}, profiles: map[string]bool{}, networks: map[string]bool{}, snapshots: map[string][]string{}, backups: map[string][]string{}}
		c.byProject[name] = s
	}
	return s
}

// add notes one record that the transaction writes.
func (c *concern) add(ref store.Ref) error {
	parts := strings.Split(ref.Key, "/")
	first := parts[0]
	switch ref.Collection {
	case project.Collection.Name:
		return c.project(ref.Key)
	case instance.Collection.Name:
		return c.instance(first, ref.Key)
	case profile.Collection.Name:
		return c.profile(first, ref.Key)
	case network.Collection.Name:
		c.of(first).networks[ref.Key] = true
	case image.Collection.Name, forward.Collection.Name:
		c.of(first)
	case storage.Volumes.Name:
		if len(parts) == 4 && parts[1] == string(storage.CustomVolume) {
			c.of(parts[2])
		}
	case instance.Snapshots.Name:
		c.of(first).snapshots[ref.Collection] = append(c.of(first).snapshots[ref.Collection], ref.Key)
	case storage.Snapshots.Name:
		if len(parts) == 5 {
			c.of(parts[2]).snapshots[ref.Collection] = append(c.of(parts[2]).snapshots[ref.Collection], ref.Key)
		}
	case backup.Collection.Name:
		c.of(first).backups[ref.Collection] = append(c.of(first).backups[ref.Collection], ref.Key)
	case volumebackup.Collection.Name:
		c.volumeBackup(ref)
	}
	return nil
}

// volumeBackup notes a backup of a volume; only its record says whose it is.
func (c *concern) volumeBackup(ref store.Ref) {
	for _, tx := range []store.Tx{c.after, c.before} {
		if r, err := volumebackup.Collection.Get(tx, ref.Key); err == nil {
			s := c.of(r.Volume.Project)
			s.backups[ref.Collection] = append(s.backups[ref.Collection], ref.Key)
			return
		}
	}
}

// project notes a project whose rules change.
func (c *concern) project(name string) error {
	now, found, err := load(c.after, name)
	if err != nil || !found {
		return err
	}
	was, _, err := load(c.before, name)
	if err == nil && !maps.Equal(rulesOf(was), rulesOf(now)) {
		c.of(name).whole = true
	}
	return err
}

func rulesOf(p project.Record) map[string]string {
	rules := maps.Clone(p.Config)
	maps.DeleteFunc(rules, func(key, v string) bool {
		return v == "" || !strings.HasPrefix(key, "limits.") && key != "restricted" && !strings.HasPrefix(key, "restricted.")
	})
	return rules
}

// instance notes an instance that may have become something else. Most writes to one say only that it started or stopped: these are
// done with here, and read nothing of the project.
func (c *concern) instance(proj, key string) error {
	if !instance.Collection.Has(c.after, key) {
		return nil
	}
	now, err := instance.Collection.Get(c.after, key)
	if err != nil {
		return err
	}
	if instance.Collection.Has(c.before, key) {
		was, err := instance.Collection.Get(c.before, key)
		if err != nil || alike(was, now) {
			return err
		}
	}
	c.of(proj).instances[key] = true
	return nil
}

// alike tells whether two records of an instance are the same to every rule.
func alike(a, b instance.Record) bool {
	return a.Type == b.Type && a.ProfileProject == b.ProfileProject && slices.Equal(a.Profiles, b.Profiles) &&
		maps.Equal(lasting(a.Config), lasting(b.Config)) &&
		maps.EqualFunc(a.Devices, b.Devices, func(a, b map[string]string) bool { return maps.Equal(a, b) })
}

func lasting(config map[string]string) map[string]string {
	out := maps.Clone(config)
	maps.DeleteFunc(out, func(key, _ string) bool { return strings.HasPrefix(key, "volatile.") })
	return out
}

// profile notes a profile, and the instances that it is a part of, whichever project they are in.
func (c *concern) profile(proj, key string) error {
	if !profile.Collection.Has(c.after, key) {
		return nil
	}
	c.of(proj).profiles[key] = true
	for _, user := range profile.Collection.UsedBy(c.after, key) {
		if user.Collection == instance.Collection.Name {
			owner, _, _ := strings.Cut(user.Key, "/")
			c.of(owner).instances[user.Key] = true
		}
	}
	return nil
}

// fresh finds the snapshots and backups that are new. One that is deleted in the same transaction makes up for one that is
// written: that is how they are renamed.
func (s *scope) fresh(before, after store.Tx) {
	s.madeSnapshots, s.madeBackups = fresh(before, after, s.snapshots), fresh(before, after, s.backups)
}

func fresh(before, after store.Tx, byCollection map[string][]string) (names []string) {
	for _, collection := range slices.Sorted(maps.Keys(byCollection)) {
		var made []string
		gone := 0
		for _, key := range byCollection[collection] {
			_, was := before.Read(collection, key)
			_, is := after.Read(collection, key)
			switch {
			case is && !was:
				made = append(made, key)
			case was && !is:
				gone++
			}
		}
		names = append(names, made[min(gone, len(made)):]...)
	}
	return names
}
