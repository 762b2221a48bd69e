package listing

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

// Column is one column of the list of instances, and what it is made from.
type Column struct {
	// Title heads the column.
	Title string
	// Needs is what the cells are made from.
	Needs Need
	// Text is the cell of an instance; it may have several lines.
	Text func(*api.InstanceFull) string
}

// Pick finds the columns that a text names: letters, or keys between commas.
func Pick(columns string, clustered bool) ([]Column, error) {
	known := knownColumns()
	var out []Column
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
				return nil, fmt.Errorf("Unknown column shorthand char '%c' in '%s'", letter, entry)
			}
			if letter == 'L' && !clustered {
				return nil, errors.New("Can't specify column L when not clustered")
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// LayOut renders the cells of instances.
func LayOut(columns []Column, instances []api.InstanceFull) (header []string, rows [][]string) {
	header, rows = make([]string, len(columns)), make([][]string, len(instances))
	for i, c := range columns {
		header[i] = c.Title
	}
	for i := range instances {
		rows[i] = make([]string, len(columns))
		for n, c := range columns {
			rows[i][n] = c.Text(&instances[i])
		}
	}
	return header, rows
}

func knownColumns() map[rune]Column {
	type full = api.InstanceFull
	object := func(title string, text func(*full) string) Column { return Column{title, NeedObject, text} }
	state := func(title string, text func(*full) string) Column {
		return Column{title, NeedObject | NeedState, withState(text)}
	}
	return map[rune]Column{
		'4': {"IPV4", NeedState | NeedNetwork, func(i *full) string { return addresses(i, "inet") }},
		'6': {"IPV6", NeedState | NeedNetwork, func(i *full) string { return addresses(i, "inet6") }},
		'a': object("ARCHITECTURE", func(i *full) string { return i.Architecture }),
		'b': object("STORAGE POOL", rootPool),
		'c': object("CREATED AT", func(i *full) string { return render.Time(i.CreatedAt) }),
		'd': object("DESCRIPTION", func(i *full) string { return i.Description }),
		'D': {"DISK USAGE", NeedObject | NeedState | NeedDisk, withState(diskUsage)},
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
		'S': {"SNAPSHOTS", NeedState, func(i *full) string { return strconv.Itoa(len(i.Snapshots)) }},
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
func keyColumn(entry string) (Column, error) {
	parts := strings.Split(entry, ":")
	source := "config"
	if parts[0] == "config" || parts[0] == "devices" {
		source, parts = parts[0], parts[1:]
	}
	if len(parts) == 0 || len(parts) > 3 || parts[0] == "" {
		return Column{}, fmt.Errorf("Invalid config key column format (too many fields): '%s'", entry)
	}
	key, title := parts[0], strings.ToUpper(strings.NewReplacer(".", " ", "_", " ").Replace(parts[0]))
	if len(parts) > 1 {
		title = parts[1]
		if title == "" && len(parts) == 2 {
			title = key
		}
	}
	width := -1
	if len(parts) > 2 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < -1 {
			return Column{}, fmt.Errorf("Invalid max width (must be a number, 0 or -1) '%s' in '%s'", parts[2], entry)
		}
		if width = n; n == 0 {
			width = len(title)
		}
	}
	value := keyValue(source, key)
	return Column{title, NeedObject, func(i *api.InstanceFull) string {
		text := value(i)
		if width >= 0 && len(text) > width {
			text = text[:width]
		}
		return text
	}}, nil
}

// keyValue reads a configuration key, or the key of a device, of an instance.
func keyValue(source, key string) func(*api.InstanceFull) string {
	if source == "devices" {
		device, field, _ := strings.Cut(key, ".")
		return func(i *api.InstanceFull) string { return i.ExpandedDevices[device][field] }
	}
	return func(i *api.InstanceFull) string { return i.ExpandedConfig[key] }
}
