package identity

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// Method knows one way of proving who calls; handled is false if the request is to be left to the next one.
type Method func(r *http.Request) (id auth.Identity, handled bool, err error)

// Caller makes who calls of a record: with the rights of the groups that it is in, and of those that the groups stand for which its
// identity provider claims that it is in.
func (s *Service) Caller(ctx context.Context, rec Record, claimed []string, address string) (auth.Identity, error) {
	id := auth.Identity{Kind: auth.Kind(rec.Method), Name: rec.ID, ID: rec.ID, Type: rec.Type, Address: address, Expires: rec.Expires}
	if !kinds[rec.Type].groups {
		id.Admin = rec.Type == api.IdentityTypeInitialUITokenBearer
		return id, nil
	}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		names, err := effective(tx, rec.Groups, claimed)
		if err != nil {
			return err
		}
		r, err := s.rights.of(tx, names)
		if err != nil {
			return err
		}
		id.Groups, id.FineGrained, id.Admin, id.Rights = names, true, r.admin, own{r.set, rec.URL()}
		id.Permissions = func() []api.Permission { return permissionsOf(r.permissions) }
		return nil
	})
	return id, err
}

// effective is the groups that an identity has by itself and by what its provider claims.
func effective(tx store.Tx, groups, claimed []string) ([]string, error) {
	names := slices.Clone(groups)
	for _, c := range claimed {
		g, err := ProviderGroupCollection.Get(tx, c)
		if errs.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, g.Groups...)
	}
	return sorted(names), nil
}

// own is the rights of an identity: those of its groups, and to view and to remove itself.
type own struct {
	*model.Set
	url string
}

var _ auth.Knower = own{}

// Allows tells whether the entitlement on the object is given.
func (o own) Allows(obj auth.Object, entitlement string) bool {
	if obj.Entity == "identity" && obj.URL == o.url && (entitlement == "can_view" || entitlement == "can_delete") {
		return true
	}
	return o.Set.Allows(obj, entitlement)
}

// compiled is what some groups give together.
type compiled struct {
	set         *model.Set
	admin       bool
	permissions []model.Permission
}

// cached is how many different sets of groups are kept compiled.
const cached = 1024

// cache keeps what sets of groups give. Its zero value is ready.
type cache struct {
	mu sync.Mutex
	by map[string]*compiled
}

// of is what the groups give together as tx sees them. The revisions of the groups are part of the key: what was compiled of an older
// one is never found again.
func (c *cache) of(tx store.Tx, names []string) (*compiled, error) {
	var key strings.Builder
	groups := make([]Group, 0, len(names))
	for _, n := range names {
		g, rev, err := GroupCollection.GetRev(tx, n)
		if errs.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
		key.WriteString(n + "\x00" + strconv.FormatUint(rev, 36) + "\x00")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.by[key.String()]; known != nil {
		return known, nil
	}
	if c.by == nil || len(c.by) >= cached {
		c.by = map[string]*compiled{}
	}
	made := compile(groups)
	c.by[key.String()] = made
	return made, nil
}

func compile(groups []Group) *compiled {
	var all []model.Permission
	for _, g := range groups {
		all = append(all, g.Permissions...)
	}
	slices.SortFunc(all, compare)
	all = slices.Compact(all)
	set := model.Compile(all)
	return &compiled{set: set, admin: set.Allows(auth.Object{Entity: "server", URL: "/1.0"}, "admin"), permissions: all}
}

// TLS tells who sent the request if its connection showed the certificate of an identity. It asks the store each time, so that one
// that was removed is worth nothing from the next request on.
func (s *Service) TLS(r *http.Request) (id auth.Identity, handled bool, err error) {
	peer := trust.PeerOf(r)
	if peer == nil || !s.d.Trust.Admits(peer) {
		return id, false, nil
	}
	var rec Record
	err = s.d.Store.View(r.Context(), func(tx store.Tx) (err error) {
		rec, err = Collection.Get(tx, Key(string(auth.TLS), trust.Fingerprint(peer)))
		return err
	})
	if errs.Is(err, errs.NotFound) || err == nil && rec.Type != api.IdentityTypeClientCertificate {
		return id, false, nil
	}
	if err != nil {
		return id, false, err
	}
	rec.Expires = peer.NotAfter
	id, err = s.Caller(r.Context(), rec, nil, r.RemoteAddr)
	return id, err == nil, err
}
