package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
	"lxd/internal/cli/render"
)

// listColumn is one column of the list of instances, and what it is made from.
type listColumn struct {
	title string
	needs need
	text  func(*api.InstanceFull) string
}

// pick finds the columns that the flags ask for.
func (f listFlags) pick(clustered bool) ([]listColumn, error) {
	columns := f.columns
	if f.fast {
		if columns != listColumns {
			return nil, errors.New("Can't specify --fast with --columns")
		}
		columns = fastListColumns
	}
	if columns == listColumns && !clustered {
		columns = strings.TrimSuffix(columns, "L")
	}
	if f.all && (f.fast || f.columns == listColumns) {
		columns = "e" + columns
	}
	known := knownListColumns()
	var out []listColumn
	for entry := range strings.SplitSeq(columns, ",") {
		if entry == "" {
			return nil, fmt.Errorf("Empty column entry (redundant, leading or trailing command) in '%s'", columns)
		}
		if strings.ContainsAny(entry, ".:") {
			c, err := keyColumn(entry)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
			continue
		}
		for _, letter := range entry {
			c, ok := known[letter]
			if !ok {
				return nil, unknownColumn(letter, entry)
			}
			if letter == 'L' && !clustered {
				return nil, errors.New("Can't specify column L when not clustered")
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func knownListColumns() map[rune]listColumn {
	type full = api.InstanceFull
	object := func(title string, text func(*full) string) listColumn { return listColumn{title, needObject, text} }
	state := func(title string, text func(*full) string) listColumn {
		return listColumn{title, needObject | needState, withState(text)}
	}
	return map[rune]listColumn{
		'4': {"IPV4", needState | needNetwork, func(i *full) string { return addresses(i, "inet") }},
		'6': {"IPV6", needState | needNetwork, func(i *full) string { return addresses(i, "inet6") }},
		'a': object("ARCHITECTURE", func(i *full) string { return i.Architecture }),
		'b': object("STORAGE POOL", rootPool),
		'c': object("CREATED AT", func(i *full) string { return render.Time(i.CreatedAt) }),
		'd': object("DESCRIPTION", func(i *full) string { return i.Description }),
		'D': {"DISK USAGE", needObject | needState | needDisk, withState(diskUsage)},
		'e': {"PROJECT", 0, func(i *full) string { return i.Project }},
		'f': object("BASE IMAGE", func(i *full) string { return fmt.Sprintf("%.12s", i.Config["volatile.base_image"]) }),
		'F': object("BASE IMAGE", func(i *full) string { return i.Config["volatile.base_image"] }),
		'l': object("LAST USED AT", func(i *full) string { return render.Time(i.LastUsedAt) }),
		'L': {"LOCATION", 0, func(i *full) string { return i.Location }},
		'm': state("MEMORY USAGE", func(i *full) string { return someSize(i.State.Memory.Usage) }),
		'M': state("MEMORY USAGE%", memoryShare),
		'n': {"NAME", 0, func(i *full) string { return i.Name }},
		'N': state("PROCESSES", func(i *full) string { return strconv.FormatInt(i.State.Processes, 10) }),
		'p': state("PID", func(i *full) string { return strconv.FormatInt(i.State.Pid, 10) }),
		'P': object("PROFILES", func(i *full) string { return strings.Join(i.Profiles, "\n") }),
		's': {"STATE", 0, func(i *full) string { return strings.ToUpper(i.Status) }},
		'S': {"SNAPSHOTS", needState, func(i *full) string { return strconv.Itoa(len(i.Snapshots)) }},
		't': {"TYPE", 0, instanceType},
		'u': state("CPU USAGE", cpuUsage),
	}
}

// withState is text for instances that run, and nothing for the others.
func withState(text func(*api.InstanceFull) string) func(*api.InstanceFull) string {
	return func(i *api.InstanceFull) string {
		if i.State == nil || i.State.Pid == 0 {
			return ""
		}
		return text(i)
	}
}

func instanceType(i *api.InstanceFull) string {
	kind := strings.ToUpper(cmp.Or(i.Type, "container"))
	if i.Ephemeral {
		kind += " (EPHEMERAL)"
	}
	return kind
}

// addresses are those that others can reach the instance under, with the interface; local ones are left out.
func addresses(i *api.InstanceFull, family string) string {
	if i.State == nil {
		return ""
	}
	var out []string
	for name, nic := range i.State.Network {
		if nic.Type == "loopback" {
			continue
		}
		for _, ip := range nic.Addresses {
			if ip.Family == family && ip.Scope != "link" && ip.Scope != "local" {
				out = append(out, fmt.Sprintf("%s (%s)", ip.Address, name))
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return render.Compare(b, a) })
	return strings.Join(out, "\n")
}

// rootDisk is the device that holds the root file system.
func rootDisk(i *api.InstanceFull) (name string, device map[string]string) {
	for name, d := range i.ExpandedDevices {
		if d["type"] == "disk" && d["path"] == "/" {
			return name, d
		}
	}
	return "", nil
}

func rootPool(i *api.InstanceFull) string {
	_, device := rootDisk(i)
	return device["pool"]
}

func diskUsage(i *api.InstanceFull) string {
	name, _ := rootDisk(i)
	return someSize(i.State.Disk[name].Usage)
}

// someSize is n as a size, or nothing when it is not known.
func someSize(n int64) string {
	if n <= 0 {
		return ""
	}
	return render.Size(n, 2)
}

func memoryShare(i *api.InstanceFull) string {
	m := i.State.Memory
	if m.Usage <= 0 || m.Total <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", float64(m.Usage)/float64(m.Total)*100)
}

func cpuUsage(i *api.InstanceFull) string {
	if i.State.CPU.Usage <= 0 {
		return ""
	}
	return fmt.Sprintf("%ds", i.State.CPU.Usage/1e9)
}

// keyColumn is a column of the form [config:|devices:]key[:name][:maxWidth].
func keyColumn(entry string) (listColumn, error) {
	parts := strings.Split(entry, ":")
	source := "config"
	if parts[0] == "config" || parts[0] == "devices" {
		source, parts = parts[0], parts[1:]
	}
	if len(parts) == 0 || len(parts) > 3 || parts[0] == "" {
		return listColumn{}, fmt.Errorf("Invalid config key column format (too many fields): '%s'", entry)
	}
	key, title, width := parts[0], strings.ToUpper(strings.NewReplacer(".", " ", "_", " ").Replace(parts[0])), -1
	if len(parts) > 1 {
		title = parts[1]
		if title == "" && len(parts) == 2 {
			title = key
		}
	}
	if len(parts) > 2 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < -1 {
			return listColumn{}, fmt.Errorf("Invalid max width (must be a number, 0 or -1) '%s' in '%s'", parts[2], entry)
		}
		if width = n; n == 0 {
			width = len(title)
		}
	}
	value := func(i *api.InstanceFull) string { return i.ExpandedConfig[key] }
	if source == "devices" {
		device, field, _ := strings.Cut(key, ".")
		value = func(i *api.InstanceFull) string { return i.ExpandedDevices[device][field] }
	}
	return listColumn{title, needObject, func(i *api.InstanceFull) string {
		if text := value(i); width < 0 || len(text) <= width {
			return text
		} else {
			return text[:width]
		}
	}}, nil
}
