package endpoint

import (
	"context"
	"iter"
	"net/http"
	"reflect"
	"slices"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/rest"
)

// Images is the routes of /1.0/images. Public images can be seen and fetched by anyone.
func Images(svc *image.Service, start Starter) []rest.Route {
	h := images{svc, start}
	const one = "/1.0/images/{fingerprint}"
	parts := rest.Body{Media: "multipart/form-data"} // metadata and root file system apart
	canEdit := auth.Can("image", "can_edit")
	edit := rest.Editor[api.ImagePut]{Load: h.load, Save: h.save}
	return append([]rest.Route{
		rest.List("GET /1.0/images", auth.Public, h.list).Reads("all-projects"),
		rest.Raw("POST /1.0/images", auth.Public, h.create).Accepts(rest.JSON[api.ImagesPost](), rest.Bytes(), parts).
			Answers(rest.Body{Status: http.StatusAccepted, Go: reflect.TypeFor[api.Operation]()}),
		rest.Get("GET "+one, auth.Public, h.get).Reads("secret"),
		rest.Async("DELETE "+one, auth.Can("image", "can_delete"), h.remove),
		rest.Raw("GET "+one+"/export", auth.Public, h.export).Reads("secret").Answers(rest.Bytes(), parts),
		rest.Raw("HEAD "+one+"/export", auth.Public, h.export).Reads("secret").Answers(rest.Bytes(), parts),
		rest.Async("POST "+one+"/export", canEdit, h.push),
		rest.Async("POST "+one+"/refresh", canEdit, h.refresh),
		rest.Async("POST "+one+"/secret", canEdit, h.secret),
	}, rest.Edit(one, canEdit, edit)...)
}

type images struct {
	svc   *image.Service
	start Starter
}

// sees tells whether the caller may view an image without knowing a secret.
func sees(c *rest.Call, img api.Image) bool {
	o := auth.Object{Entity: "image", Project: c.Through(img.Project), URL: project.URL("", "images", img.Fingerprint)}
	return img.Public || c.May(o, "can_view")
}

func (h images) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Image], error] {
	all, err := h.svc.List(ctx, c.Project, c.AllProjects)
	if !c.Caller.Trusted() && (c.Project != project.Default || c.AllProjects) {
		// Even whether there is such a project is none of their business.
		all, err = nil, errs.Newf(errs.Forbidden, "not authorized: without being trusted only public images of the default project can be listed")
	}
	shown := all[:0]
	for _, img := range all {
		if sees(c, img) {
			shown = append(shown, tagged(c, img))
		}
	}
	list := items(shown, err, func(i api.Image) string { return project.URL("", "images", i.Fingerprint) })
	return within(list, func(i api.Image) string { return i.Project })
}

// tagged is an image with those of its aliases that the caller may know of. Those of public images are for everybody.
func tagged(c *rest.Call, img api.Image) api.Image {
	if c.Caller.FineGrained && !img.Public {
		img.Aliases = slices.DeleteFunc(slices.Clone(img.Aliases), func(a api.ImageAlias) bool {
			return !c.May(auth.Object{Entity: "image_alias", Project: c.Through(img.Project), URL: aliasURL(a.Name)}, "can_view")
		})
	}
	return img
}

func (h images) get(ctx context.Context, c *rest.Call) (api.Image, any, error) {
	img, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("fingerprint"))
	if err == nil && !sees(c, img) {
		err = h.admit(c, false)
	}
	if err != nil {
		return api.Image{}, nil, missing(c, err)
	}
	return tagged(c, img), etag, nil
}

// missing is why an image is not shown: to those who may not see all it tells nothing that depends on which images and projects there are.
func missing(c *rest.Call, err error) error {
	if errs.Is(err, errs.NotFound) && !c.Caller.Admin {
		return errs.Newf(errs.NotFound, "image %q not found in project %q", c.PathValue("fingerprint"), c.Project)
	}
	return err
}

// admit fails unless the caller sent the secret of an image that it may not view otherwise; use makes it worth nothing from then on.
func (h images) admit(c *rest.Call, use bool) error {
	secret := c.Param("secret")
	return c.Prove(secret, func() error { return h.svc.Admit(c.Context(), c.Project, c.PathValue("fingerprint"), secret, use) })
}

func (h images) load(ctx context.Context, c *rest.Call) (api.ImagePut, any, error) {
	img, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("fingerprint"))
	return img.Writable(), etag, err
}

func (h images) save(ctx context.Context, c *rest.Call, next api.ImagePut) error {
	if use.Judged(c) { // instances of the image get its profiles
		now, _, err := h.load(ctx, c)
		if err == nil {
			err = use.Check(c, use.Refs{Project: c.Project, Profiles: next.Profiles}, use.Refs{Project: c.Project, Profiles: now.Profiles})
		}
		if err != nil {
			return err
		}
	}
	return h.svc.Update(ctx, c.Project, c.PathValue("fingerprint"), next)
}

func (h images) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	return h.svc.Delete(ctx, c.Project, c.PathValue("fingerprint"))
}

func (h images) refresh(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	return h.svc.Refresh(ctx, c.Project, c.PathValue("fingerprint"))
}

func (h images) secret(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	return h.svc.Secret(ctx, c.Project, c.PathValue("fingerprint"))
}

func (h images) push(ctx context.Context, c *rest.Call, in api.ImageExportPost) (op.Spec, error) {
	return h.svc.Push(ctx, c.Project, c.PathValue("fingerprint"), in)
}
