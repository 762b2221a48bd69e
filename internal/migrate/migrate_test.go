package migrate_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/migrate"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/store"
)

const index = "name: c1\nsnapshots: [s0]\nconfig: {version: 2, instance: {name: c1, architecture: x86_64}, snapshots: [{name: s0}]}\n"

// both is the instances and backups of a source and of a sink.
// exports is for what no test here does.
type exports = backup.Exports

type both struct {
	exports
	content []byte
	fails   error
	// snapshots are those that arrived; refuse is why the rest does not.
	snapshots []api.InstanceSnapshot
	refuse    error
}

func (b *both) Original(_ context.Context, _, name string) (instance.Original, error) {
	if name != "c1" {
		return instance.Original{}, errs.Newf(errs.NotFound, "instance %q not found", name)
	}
	return instance.Original{Snapshots: []api.InstanceSnapshot{{Name: "s0"}}}, nil
}

func (b *both) Write(_ context.Context, _, _ string, _ backup.Wish, out io.Writer) error {
	for part := b.content; len(part) > 0; {
		n := min(len(part), 1000)
		if _, err := out.Write(part[:n]); err != nil {
			return err
		}
		part = part[n:]
	}
	return b.fails
}

func (b *both) Unpack(in *backup.Incoming) ([]api.InstanceSnapshot, backup.Filling, error) {
	return backup.New(context.Background(), backup.Deps{Volumes: b}).Unpack(in)
}

func (*both) GetPool(context.Context, string) (p api.StoragePool, _ any, _ error) { return p, nil, nil }

func (*both) GetVolume(context.Context, string, string, storage.VolumeType, string) (v api.StorageVolume, _ any, _ error) {
	return v, nil, nil
}

func (b *both) Fill(ctx context.Context, _ string, _ storage.Volume, fill func(context.Context, string) error) error {
	dir, err := os.MkdirTemp("", "filled")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if b.refuse != nil {
		return b.refuse
	}
	return fill(ctx, dir)
}

// Event tells nobody.
func (*both) Event(context.Context, string, string, string) {}

// Receive reads all that comes, as far as the fake goes.
func (b *both) Receive(_ context.Context, _ string, _ api.InstancesPost, a instance.Arrival) (op.Spec, error) {
	return op.Spec{Kind: a.Kind, Metadata: map[string]any{}, Run: func(ctx context.Context, t *op.Task) error {
		var err error
		if b.snapshots, err = a.Begin(ctx); err != nil {
			return err
		}
		return a.Fill(ctx, t, "tank", storage.Volume{})
	}}, nil
}

// rig is a server whose operations can be connected to.
type rig struct {
	*both
	*httptest.Server
	ops *op.Manager
	svc *migrate.Service
}

func newRig(t *testing.T) *rig {
	t.Helper()
	st := store.NewMem(store.Options{})
	t.Cleanup(func() { _ = st.Close() })
	r := &rig{both: &both{content: tarOf(t, index)}, ops: op.NewManager(context.Background(), op.Options{Store: st})}
	r.svc = migrate.New(r.both, r.both)
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		id := strings.Split(q.URL.Path, "/")[3]
		o, err := r.ops.Get(id)
		if err == nil {
			err = o.Connect(w, q)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *rig) certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
}

func (r *rig) start(t *testing.T, s op.Spec, err error) *op.Operation {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.ops.Start(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func secrets(o *op.Operation) map[string]string {
	m := o.API().Metadata
	return map[string]string{"control": m["control"].(string), "fs": m["fs"].(string)}
}

func wait(t *testing.T, o *op.Operation) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return o.Wait(ctx)
}

// pull has the sink fetch from the source.
func pull(t *testing.T, source, sink *rig) (sent, received error) {
	t.Helper()
	s, err := source.svc.Source(t.Context(), "default", "c1", api.InstancePost{Migration: true})
	from := source.start(t, s, err)
	s, err = sink.svc.Sink(t.Context(), "default", api.InstancesPost{Source: api.InstanceSource{Type: "migration", Mode: "pull",
		Operation: source.URL + from.URL(), Websockets: secrets(from), Certificate: source.certificate()}})
	to := sink.start(t, s, err)
	return wait(t, from), wait(t, to)
}

func TestPullAndPush(t *testing.T) {
	source, sink := newRig(t), newRig(t)
	if sent, received := pull(t, source, sink); sent != nil || received != nil {
		t.Fatal(sent, received)
	}
	if len(sink.snapshots) != 1 || sink.snapshots[0].Name != "s0" {
		t.Errorf("snapshots %+v", sink.snapshots)
	}
	s, err := sink.svc.Sink(t.Context(), "default", api.InstancesPost{Source: api.InstanceSource{Type: "migration", Mode: "push"}})
	to := sink.start(t, s, err)
	s, err = source.svc.Source(t.Context(), "default", "c1", api.InstancePost{Migration: true, Target: &api.InstancePostTarget{
		Operation: sink.URL + to.URL(), Websockets: secrets(to), Certificate: sink.certificate()}})
	from := source.start(t, s, err)
	if err := errors.Join(wait(t, from), wait(t, to)); err != nil {
		t.Fatal(err)
	}
}

func TestBothSidesLearnOfAFailure(t *testing.T) {
	source, sink := newRig(t), newRig(t)
	sink.refuse = errors.New("the pool is full")
	if sent, received := pull(t, source, sink); sent == nil || !strings.Contains(sent.Error(), "the pool is full") || received == nil {
		t.Errorf("%v; %v", sent, received)
	}
	source, sink = newRig(t), newRig(t)
	source.content, source.fails = source.content[:700], errors.New("the disk is broken")
	if sent, received := pull(t, source, sink); sent == nil || !strings.Contains(sent.Error(), "the disk is broken") || received == nil {
		t.Errorf("%v; %v", sent, received)
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	for name, post := range map[string]api.InstanceSource{
		"mode": {Mode: "magic"}, "live": {Live: true},
	} {
		if _, err := r.svc.Sink(t.Context(), "default", api.InstancesPost{Source: post}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for name, src := range map[string]api.InstanceSource{
		"no address":   {},
		"plain":        {Operation: "http://127.0.0.1/1.0/operations/x"},
		"another path": {Operation: "https://127.0.0.1/internal/shutdown"},
		"a user":       {Operation: "https://a:b@127.0.0.1/1.0/operations/x"},
		"no PEM":       {Operation: "https://127.0.0.1/1.0/operations/x", Certificate: "x"},
	} {
		s, err := r.svc.Sink(t.Context(), "default", api.InstancesPost{Source: src})
		if err := wait(t, r.start(t, s, err)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.svc.Source(t.Context(), "default", "nope", api.InstancePost{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := r.svc.Source(t.Context(), "default", "c1", api.InstancePost{Live: true}); !errs.Is(err, errs.Unsupported) {
		t.Error(err)
	}
}

// TestRestrictedStayOutside: for who is restricted the server connects to nothing of its own network, in either direction.
func TestRestrictedStayOutside(t *testing.T) {
	source, sink := newRig(t), newRig(t)
	bounded := op.WithCaller(t.Context(), op.Caller{Username: "r", Protocol: "tls", Restricted: true})
	run := func(r *rig, s op.Spec, err error) error {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.ops.Start(bounded, s)
		if err != nil {
			t.Fatal(err)
		}
		return wait(t, o)
	}
	s, err := source.svc.Source(t.Context(), "default", "c1", api.InstancePost{Migration: true})
	from := source.start(t, s, err)
	s, err = sink.svc.Sink(bounded, "default", api.InstancesPost{Source: api.InstanceSource{Type: "migration", Mode: "pull",
		Operation: source.URL + from.URL(), Websockets: secrets(from), Certificate: source.certificate()}})
	if err := run(sink, s, err); !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("pull: %v", err)
	}
	_ = from.Cancel(t.Context())
	_ = wait(t, from)
	s, err = sink.svc.Sink(t.Context(), "default", api.InstancesPost{Source: api.InstanceSource{Type: "migration", Mode: "push"}})
	to := sink.start(t, s, err)
	defer func() { _ = to.Cancel(t.Context()) }()
	s, err = source.svc.Source(bounded, "default", "c1", api.InstancePost{Migration: true, Target: &api.InstancePostTarget{
		Operation: sink.URL + to.URL(), Websockets: secrets(to), Certificate: sink.certificate()}})
	if err := run(source, s, err); !errs.Is(err, errs.Forbidden) {
		t.Errorf("push: %v", err)
	}
}

func TestAnotherCertificateIsRefused(t *testing.T) {
	source, sink, other := newRig(t), newRig(t), httptest.NewUnstartedServer(nil)
	other.StartTLS()
	defer other.Close()
	s, err := source.svc.Source(t.Context(), "default", "c1", api.InstancePost{Migration: true})
	from := source.start(t, s, err)
	defer func() { _ = from.Cancel(t.Context()) }()
	post := api.InstancesPost{Source: api.InstanceSource{Operation: source.URL + from.URL(), Websockets: secrets(from)}}
	s, err = sink.svc.Sink(t.Context(), "default", post)
	if err := wait(t, sink.start(t, s, err)); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

func TestSecretsOpenOneStreamEachAndOnce(t *testing.T) {
	source := newRig(t)
	s, err := source.svc.Source(t.Context(), "default", "c1", api.InstancePost{Migration: true})
	from := source.start(t, s, err)
	d := websocket.Dialer{TLSClientConfig: source.Client().Transport.(*http.Transport).TLSClientConfig}
	address := "wss" + strings.TrimPrefix(source.URL, "https") + from.URL() + "/websocket?secret="
	for _, secret := range []string{"", "x", strings.Repeat("0", 64)} {
		if _, _, err := d.Dial(address+secret, nil); err == nil {
			t.Errorf("secret %q opened a stream", secret)
		}
	}
	c, _, err := d.Dial(address+secrets(from)["control"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := d.Dial(address+secrets(from)["control"], nil); err == nil {
		t.Error("a secret opened a stream twice")
	}
	fs, _, err := d.Dial(address+secrets(from)["fs"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	// one that speaks another format, as the original does
	if err := c.WriteMessage(websocket.BinaryMessage, []byte{0x08, 0x00}); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, from); !errs.Is(err, errs.Unsupported) {
		t.Errorf("error %v", err)
	}
}
