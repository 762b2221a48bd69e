package admin

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/schema"
)

// lines hands out the answers one by one.
type lines struct{ s *bufio.Scanner }

func newLines(in io.Reader) lines { return lines{bufio.NewScanner(in)} }

func (l lines) next() (string, error) {
	if l.s.Scan() {
		return strings.TrimSpace(l.s.Text()), nil
	}
	if err := l.s.Err(); err != nil {
		return "", err
	}
	return "", errs.Newf(errs.Canceled, "the input ended before all questions were answered: nothing was changed")
}

// interview asks what to set up.
type interview struct {
	in  lines
	out io.Writer
}

// ask returns the decisions, and whether to print them as a preseed. The questions come in the order of LXD 6.7.
func (q *interview) ask(h present) (d setup, show bool, err error) {
	if cluster, err := q.yes("Would you like to use LXD clustering?", false); err != nil || cluster {
		return d, false, cmp.Or(err, errs.Newf(errs.Unsupported, "clusters are not supported yet: answer no. Nothing was changed"))
	}
	for _, part := range []func(present, *setup) error{q.askPool, q.askBridge, q.askNetwork, q.askImages} {
		if err := part(h, &d); err != nil {
			return d, false, err
		}
	}
	show, err = q.yes("Print a YAML preseed of these answers?", false)
	return d, show, err
}

func (q *interview) askPool(h present, d *setup) error {
	create, err := q.yes("Create a new storage pool?", len(h.pools) == 0)
	if err != nil {
		return err
	}
	if !create {
		d.noPool = len(h.pools) == 0
		if !d.noPool {
			d.pool, d.poolExists = h.pools[0].Name, true
		}
		return nil
	}
	d.pool, err = q.text("Name of the new storage pool", "default", func(s string) error {
		if h.hasPool(s) {
			return fmt.Errorf("a pool of that name exists: choose another")
		}
		return isName(s)
	})
	if err != nil {
		return err
	}
	return q.askBackend(h, d)
}

// askBackend asks what the pool is on. Snapshots and copies take no time on btrfs: where the server can, it is the default.
func (q *interview) askBackend(h present, d *setup) (err error) {
	backends, best := h.backends, dirBackend
	if len(backends) == 0 {
		backends = []string{dirBackend}
	}
	if slices.Contains(backends, "btrfs") {
		best = "btrfs"
	}
	question := "Storage backend (" + strings.Join(backends, ", ") + ")"
	if d.backend, err = q.text(question, best, schema.OneOf(backends...).OK); err != nil {
		return err
	}
	place := "Existing empty folder to keep it in (empty = below the daemon's own)"
	if d.backend != dirBackend {
		place = "Existing empty block device, or folder, to keep it on (empty = a new file)"
	}
	if d.source, err = q.text(place, "", isPath); err != nil || d.backend == dirBackend || d.source != "" {
		return err
	}
	size, err := q.text("Size of the file in GiB (empty = a fifth of the free space)", "", isCount)
	if size != "" {
		d.size = size + "GiB"
	}
	return err
}

// isPath takes an absolute path or nothing.
func isPath(s string) error {
	if s != "" && !strings.HasPrefix(s, "/") {
		return fmt.Errorf("must be an absolute path")
	}
	return nil
}

// isCount takes a number above zero or nothing.
func isCount(s string) error {
	if n, err := strconv.Atoi(s); s != "" && (err != nil || n < 1) {
		return fmt.Errorf("must be a whole number, 1 or more")
	}
	return nil
}

func (q *interview) askBridge(h present, d *setup) error {
	name, exists := h.bridge()
	create, err := q.yes("Create a new local network bridge?", !exists)
	if err != nil {
		return err
	}
	if !create {
		if d.bridge, d.bridgeExists, d.noBridge = name, exists, !exists; exists {
			return nil
		}
		return q.askInterface(h, d)
	}
	if exists {
		name = ""
	}
	if d.bridge, err = q.text("Name of the new bridge", name, isName); err != nil {
		return err
	}
	if d.ipv4, err = q.text(`IPv4 address (CIDR, "auto" or "none")`, "auto", isSubnet(netip.Addr.Is4)); err != nil {
		return err
	}
	d.ipv6, err = q.text(`IPv6 address (CIDR, "auto" or "none")`, "auto", isSubnet(netip.Addr.Is6))
	return err
}

// askInterface asks for an interface of the host that instances are connected to where there is no network for them.
func (q *interview) askInterface(h present, d *setup) error {
	use, err := q.yes("Would you like to use an existing bridge or host interface?", false)
	if err != nil || !use {
		return err
	}
	d.parent, err = q.text("Name of the existing bridge or host interface", "", func(s string) error {
		for _, n := range h.networks {
			if n.Name == s && !n.Managed {
				return nil
			}
		}
		return fmt.Errorf("must be the name of an interface of this host")
	})
	d.nictype = "macvlan"
	for _, n := range h.networks {
		if n.Name == d.parent && n.Type == "bridge" {
			d.nictype = "bridged"
		}
	}
	return err
}

// askNetwork asks whether other machines may come in, and whether a browser may do so at once.
func (q *interview) askNetwork(h present, d *setup) error {
	if !h.served {
		serve, err := q.yes("Would you like the server to be available over the network?", false)
		if err != nil || !serve {
			return err
		}
		host, err := q.text("Address to listen on (not including the port)", "all", isHost)
		if err != nil {
			return err
		}
		port, err := q.text("Port to listen on", "8443", isPort)
		if err != nil {
			return err
		}
		d.address = listenOn(host, port)
	}
	link, err := q.yes("Would you like to create a temporary access link for the user interface?", false)
	d.uiLink = link
	return err
}

// askImages asks whether images that were fetched are kept up to date.
func (q *interview) askImages(_ present, d *setup) error {
	update, err := q.yes("Would you like stale cached images to be updated automatically?", true)
	d.staleImages = !update
	return err
}

// isHost takes an address, or "all".
func isHost(s string) error {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); s != "all" && err != nil {
		return fmt.Errorf("must be an address, or \"all\"")
	}
	return nil
}

func isPort(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("must be a number from 1 to 65535")
	}
	return nil
}

// text asks until the answer passes ok; an empty answer means def.
func (q *interview) text(question, def string, ok func(string) error) (string, error) {
	for {
		hint := ""
		if def != "" {
			hint = " [default=" + def + "]"
		}
		if err := writeAll(q.out, question+hint+": "); err != nil {
			return "", err
		}
		a, err := q.in.next()
		if err != nil {
			return "", err
		}
		if a == "" {
			a = def
		}
		if err := ok(a); err == nil {
			return a, nil
		} else if werr := writeAll(q.out, fmt.Sprintf("Invalid answer %q: it %s\n", a, err)); werr != nil {
			return "", werr
		}
	}
}

func (q *interview) yes(question string, def bool) (bool, error) {
	word := map[bool]string{true: "yes", false: "no"}[def]
	a, err := q.text(question+" (yes/no)", word, schema.OneOf("yes", "no", "y", "n").OK)
	return strings.HasPrefix(a, "y"), err
}

var name = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func isName(s string) error {
	if !name.MatchString(s) || len(s) > 63 {
		return fmt.Errorf("must be letters, digits, '-', '_' and '.', at most 63")
	}
	return nil
}

func isSubnet(family func(netip.Addr) bool) func(string) error {
	return func(s string) error {
		if s == "auto" || s == "none" {
			return nil
		}
		p, err := netip.ParsePrefix(s)
		if err != nil || !family(p.Addr()) {
			return fmt.Errorf("must be an address with its prefix length, such as 10.0.0.1/24 or fd42::1/64")
		}
		return nil
	}
}
