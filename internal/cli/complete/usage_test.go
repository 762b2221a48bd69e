package complete

import "testing"

func TestSpots(t *testing.T) {
	for use, want := range map[string][]spot{
		"list [<remote>:] [<filter>...]":                                     {{remote: true}, {what: "filter", repeats: true}},
		"stop [<remote>:]<instance> [[<remote>:]<instance>...]":              {{what: "instance", remote: true, repeats: true}},
		"set [<remote>:][<instance>] <key>=<value>...":                       {{what: "instance", remote: true}, {what: "key", repeats: true, pair: true}},
		"add [<remote>:]<instance> <device> <type> [key=value...]":           {{what: "instance", remote: true}, {what: "device"}, {what: "type"}, {what: "key", repeats: true, pair: true}},
		"attach [<remote>:]<pool> [<type>/]<volume>[/<snapshot>] <instance>": {{what: "pool", remote: true}, {what: "volume", sub: "snapshot"}, {what: "instance"}},
		"copy [<remote>:]<pool>/<volume>[/<snapshot>] [<remote>:]<pool>":     {{what: "pool", sub: "volume", remote: true}, {what: "pool", remote: true}},
		"push <source path>... [<remote>:]<instance>/<path>":                 {{what: "source path", repeats: true}, {what: "instance", sub: "path", remote: true}},
		"export [<remote>:]<instance> [target] [--instance-only]":            {{what: "instance", remote: true}, {}},
		"attach [<remote>:]<network> <instance> [<device name>]":             {{what: "network", remote: true}, {what: "instance"}, {what: "device name"}},
		"edit": nil,
	} {
		got := spots(use)
		if len(got) != len(want) {
			t.Errorf("%s: got %+v, want %+v", use, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: argument %d: got %+v, want %+v", use, i, got[i], want[i])
			}
		}
	}
}
