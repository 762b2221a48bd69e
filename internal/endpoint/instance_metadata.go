package endpoint

import (
	"bytes"
	"context"
	"net/http"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/instance"
	"lxd/internal/rest"
)

// InstanceMetadata is the routes of /1.0/instances/NAME/metadata.
func InstanceMetadata(svc *instance.Service, at rest.Placement) []rest.Route {
	h := instances{svc}
	const metadata = "/1.0/instances/{name}/metadata"
	view, edit := auth.Can("instance", "can_view"), auth.Can("instance", "can_edit")
	editor := rest.Editor[api.ImageMetadata]{Load: h.loadMetadata, Save: h.saveMetadata}
	return placed(append([]rest.Route{
		rest.Get("GET "+metadata, view, h.metadata),
		rest.Raw("GET "+metadata+"/templates", view, h.templates).Reads("path").Answers(rest.JSON[[]string](), rest.Bytes()),
		rest.Raw("POST "+metadata+"/templates", edit, h.putTemplate).Reads("path").Accepts(rest.Bytes()).Answers(rest.JSON[rest.None]()),
		rest.Sync("DELETE "+metadata+"/templates", edit, h.deleteTemplate).Reads("path"),
	}, rest.Edit(metadata, edit, editor)...), at)
}

func (h instances) metadata(ctx context.Context, c *rest.Call) (api.ImageMetadata, any, error) {
	name, err := named(c)
	if err != nil {
		return api.ImageMetadata{}, nil, err
	}
	m, err := h.svc.RetrieveMetadata(ctx, c.Project, name)
	return m, m, err
}

func (h instances) loadMetadata(ctx context.Context, c *rest.Call) (api.ImageMetadata, any, error) {
	name, err := named(c)
	if err != nil {
		return api.ImageMetadata{}, nil, err
	}
	m, err := h.svc.Metadata(ctx, c.Project, name)
	return m, m, err
}

func (h instances) saveMetadata(ctx context.Context, c *rest.Call, next api.ImageMetadata) error {
	return h.svc.SetMetadata(ctx, c.Project, c.PathValue("name"), next)
}

// templates lists the templates, or sends the one that is asked for.
func (h instances) templates(w http.ResponseWriter, c *rest.Call) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	if which := c.Param("path"); which != "" {
		text, err := h.svc.Template(c.Context(), c.Project, name, which)
		if err != nil {
			return err
		}
		return sendBytes(w, int64(len(text)), bytes.NewReader(text))
	}
	names, err := h.svc.TemplateNames(c.Context(), c.Project, name)
	if err != nil {
		return err
	}
	body, err := rest.Result(names, nil)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that went away needs no answer
	return nil
}

func (h instances) putTemplate(w http.ResponseWriter, c *rest.Call) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	if err := h.svc.SetTemplate(c.Context(), c.Project, name, c.Param("path"), c.Body); err != nil {
		return err
	}
	body, err := rest.Result(map[string]any{}, nil)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that went away needs no answer
	return nil
}

func (h instances) deleteTemplate(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	name, err := named(c)
	if err != nil {
		return rest.None{}, err
	}
	return rest.None{}, h.svc.DeleteTemplate(ctx, c.Project, name, c.Param("path"))
}
