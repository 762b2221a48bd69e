package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	yaml "go.yaml.in/yaml/v3"

	"lxd/api"
	"lxd/internal/errs"
)

// choices are the flags of "lxd init".
type choices struct {
	auto, minimal, preseed, dump bool

	backend, pool, device string
	loop                  int
	address               string
	port                  int64
	uiLink                bool
}

func (p *Program) initCommand() *cobra.Command {
	var o choices
	c := &cobra.Command{
		Use:   "init",
		Short: "Set the daemon up: storage pool, network, default profile",
		Long:  "Without flags it asks. It may be run again: what exists is kept, and with --preseed brought to what the preseed says.",
		Example: "  lxd init --auto\n  lxd init --minimal\n  lxd init --dump > preseed.yaml\n" +
			"  lxd init --preseed < preseed.yaml",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			s, err := p.Connect()
			if err != nil {
				return err
			}
			return o.run(c.Context(), s, c.InOrStdin(), c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.BoolVar(&o.auto, "auto", false, "Set up without questions")
	f.BoolVar(&o.minimal, "minimal", false, "Set up without questions: a dir pool and a bridge")
	f.BoolVar(&o.preseed, "preseed", false, "Read what to set up as YAML from standard input")
	f.BoolVar(&o.dump, "dump", false, "Print the present configuration as a preseed")
	f.StringVar(&o.address, "network-address", "", "Address to serve HTTPS on (default: none)")
	f.Int64Var(&o.port, "network-port", -1, "Port to serve HTTPS on")
	f.StringVar(&o.backend, "storage-backend", "", "Storage backend of the new pool: dir or btrfs (default: dir)")
	f.StringVar(&o.device, "storage-create-device", "", "Set the pool up on this device")
	f.IntVar(&o.loop, "storage-create-loop", -1, "Set the pool up on a file of this size in GiB")
	f.StringVar(&o.pool, "storage-pool", "", "Name of the pool")
	f.BoolVar(&o.uiLink, "ui-initial-access-link", false, "Print a link for a first visit with the browser")
	return c
}

// check refuses flags that contradict each other, and those whose feature this version lacks.
func (o choices) check() error {
	modes := 0
	for _, m := range []bool{o.auto, o.minimal, o.preseed, o.dump} {
		if m {
			modes++
		}
	}
	switch {
	case modes > 1:
		return errs.Newf(errs.Invalid, "--auto, --minimal, --preseed and --dump exclude each other: use one of them")
	case !o.auto && o.details():
		return errs.Newf(errs.Invalid, "the --storage-* and --network-* flags go with --auto only")
	case o.port != -1 && (o.port < 1 || o.port > 65535):
		return errs.Newf(errs.Invalid, "--network-port must be from 1 to 65535")
	case o.dump && o.uiLink:
		return errs.Newf(errs.Invalid, "--dump and --ui-initial-access-link exclude each other: use one of them")
	}
	return o.checkPlace()
}

// checkPlace refuses flags about what the pool is on that make no sense.
func (o choices) checkPlace() error {
	switch {
	case o.device == "" && o.loop == -1:
		return nil
	case o.device != "" && o.loop != -1:
		return errs.Newf(errs.Invalid, "--storage-create-device and --storage-create-loop exclude each other: use one of them")
	case o.backend == "" || o.backend == dirBackend:
		return errs.Newf(errs.Invalid, "--storage-create-device and --storage-create-loop need a backend that can use a device, such as "+
			"--storage-backend btrfs: the dir backend keeps its volumes in a folder")
	case o.device == "" && o.loop < 1:
		return errs.Newf(errs.Invalid, "--storage-create-loop must be at least 1 (GiB)")
	}
	return nil
}

// details tells that a flag says how to set things up.
func (o choices) details() bool {
	return o.backend != "" || o.device != "" || o.loop != -1 || o.pool != "" || o.address != "" || o.port != -1
}

func (o choices) run(ctx context.Context, s Server, in io.Reader, out io.Writer) error {
	if o.dump {
		return dump(ctx, s, out)
	}
	link := o.uiLink
	if !link || o.auto || o.minimal || o.preseed { // the link alone may be asked for at any time
		want, asked, err := o.wanted(ctx, s, in, out)
		if err != nil {
			return err
		}
		if err := apply(ctx, s, want); err != nil {
			return err
		}
		link = link || asked
	}
	if !link {
		return nil
	}
	return printLink(ctx, s, out)
}

// wanted is what is to be set up, and whether the answers ask for a link to the user interface.
func (o choices) wanted(ctx context.Context, s Server, in io.Reader, out io.Writer) (want preseed, link bool, err error) {
	if o.preseed {
		want, err = parsePreseed(in)
		return want, false, err
	}
	have, err := look(ctx, s)
	if err != nil {
		return want, false, err
	}
	if o.auto || o.minimal {
		return defaults(have, o), false, have.checkBackend(o)
	}
	d, show, err := (&interview{in: newLines(in), out: out}).ask(have)
	if err != nil {
		return want, false, err
	}
	want = newSetup(d)
	if show {
		err = printYAML(out, want)
	}
	return want, d.uiLink, err
}

// dirBackend is the storage backend that every server has.
const dirBackend = "dir"

// present is what the server has already.
type present struct {
	pools    []api.StoragePool
	networks []api.Network
	backends []string
	// served says that the network is served already.
	served bool
}

func look(ctx context.Context, s Server) (present, error) {
	var h present
	var server api.Server
	if _, err := s.Get(ctx, "/1.0", &server); err != nil {
		return h, err
	}
	address, _ := server.Config["core.https_address"].(string)
	h.served = address != ""
	for _, d := range server.Environment.StorageSupportedDrivers {
		h.backends = append(h.backends, d.Name)
	}
	if _, err := s.Get(ctx, "/1.0/storage-pools?recursion=1", &h.pools); err != nil {
		return h, err
	}
	_, err := s.Get(ctx, "/1.0/networks?recursion=1", &h.networks)
	return h, err
}

// bridge is the managed bridge that exists, or else a name for a new one that no interface of the host has.
func (h present) bridge() (name string, exists bool) {
	taken := map[string]bool{}
	for _, n := range h.networks {
		if n.Managed && n.Type == "bridge" {
			return n.Name, true
		}
		taken[n.Name] = true
	}
	for i := 0; ; i++ {
		if name := fmt.Sprintf("lxdbr%d", i); !taken[name] {
			return name, false
		}
	}
}

// defaults is the setup that needs no answers.
func defaults(h present, o choices) preseed {
	pool := o.pool
	if pool == "" {
		pool = "default"
		if len(h.pools) > 0 {
			pool = h.pools[0].Name
		}
	}
	backend := o.backend
	if backend == "" {
		backend = dirBackend
	}
	d := setup{pool: pool, backend: backend, source: o.device, poolExists: h.hasPool(pool)}
	if o.loop > 0 {
		d.size = strconv.Itoa(o.loop) + "GiB"
	}
	d.bridge, d.bridgeExists = h.bridge()
	d.address = o.listen()
	return newSetup(d)
}

// listen is the network address that the flags ask for; a port alone, or the word all, means every address.
func (o choices) listen() string {
	if o.address == "" && o.port == -1 {
		return ""
	}
	port := o.port
	if port == -1 {
		port = 8443
	}
	return listenOn(o.address, strconv.FormatInt(port, 10))
}

// listenOn is the address that host and port come to; the word all, or nothing, means every address.
func listenOn(host, port string) string {
	host = strings.Trim(host, "[]")
	if host == "" || host == "all" {
		host = "::"
	}
	return net.JoinHostPort(host, port)
}

// checkBackend refuses a backend that the pool, which exists already, does not have.
func (h present) checkBackend(o choices) error {
	for i, p := range h.pools {
		if (p.Name == o.pool || o.pool == "" && i == 0) && o.backend != "" && o.backend != p.Driver {
			return errs.Newf(errs.Conflict, "storage pool %q exists and is of backend %s: leave out --storage-backend, or name another pool with --storage-pool", p.Name, p.Driver)
		}
	}
	return nil
}

func (h present) hasPool(name string) bool {
	for _, p := range h.pools {
		if p.Name == name {
			return true
		}
	}
	return false
}

// setup is what the questions, or the defaults, come to.
type setup struct {
	pool, backend          string
	source, size           string
	poolExists, noPool     bool
	bridge, ipv4, ipv6     string
	bridgeExists, noBridge bool
	// parent is an interface of the host that instances are connected to in place of a bridge, by a NIC of that type.
	parent, nictype string
	// address is where the network is served.
	address             string
	uiLink, staleImages bool
}

// newSetup renders the decisions as a preseed.
func newSetup(d setup) preseed {
	var want preseed
	profile := api.ProfilesPost{Name: "default"}
	profile.Devices = map[string]map[string]string{}
	if !d.noPool {
		profile.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": d.pool}
	}
	if !d.noPool && !d.poolExists {
		p := api.StoragePoolsPost{Name: d.pool, Driver: d.backend}
		p.Config = map[string]string{}
		for key, v := range map[string]string{"source": d.source, "size": d.size} {
			if v != "" {
				p.Config[key] = v
			}
		}
		want.StoragePools = append(want.StoragePools, p)
	}
	if !d.noBridge {
		profile.Devices["eth0"] = map[string]string{"type": "nic", "network": d.bridge, "name": "eth0"}
	}
	if d.parent != "" {
		profile.Devices["eth0"] = map[string]string{"type": "nic", "nictype": d.nictype, "parent": d.parent, "name": "eth0"}
	}
	want.Config = d.config()
	if !d.noBridge && !d.bridgeExists {
		n := api.InitNetworksProjectPost{}
		n.Name, n.Type, n.Config = d.bridge, "bridge", map[string]string{}
		for key, v := range map[string]string{"ipv4.address": d.ipv4, "ipv6.address": d.ipv6} {
			if v != "" {
				n.Config[key] = v
			}
		}
		want.Networks = append(want.Networks, n)
	}
	want.Profiles = append(want.Profiles, profile)
	return want
}

// config is the configuration of the server that the decisions come to.
func (d setup) config() map[string]any {
	config := map[string]any{}
	if d.address != "" {
		config["core.https_address"] = d.address
	}
	if d.staleImages {
		config["images.auto_update_interval"] = "0"
	}
	return config
}

func printYAML(out io.Writer, v any) error {
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return err
	}
	return e.Close()
}
