package admin

import (
	"context"
	"io"
	"maps"
	"strings"

	"lxd/api"
)

// dump prints the present configuration in the form that "lxd init --preseed" takes.
func dump(ctx context.Context, s Server, out io.Writer) (err error) {
	var have preseed
	var server api.Server
	if _, err := s.Get(ctx, "/1.0", &server); err != nil {
		return err
	}
	have.Config = map[string]any{}
	for key, value := range server.Config {
		if !volatile(key) && value != true { // true is what is shown of a secret, which nobody could use
			have.Config[key] = value
		}
	}
	var projects []api.Project
	if _, err := s.Get(ctx, "/1.0/projects?recursion=1", &projects); err != nil {
		return err
	}
	for _, p := range projects {
		have.Projects = append(have.Projects, api.ProjectsPost{Name: p.Name, ProjectPut: p.Writable()})
	}
	var networks []api.Network
	if _, err := s.Get(ctx, "/1.0/networks?recursion=1", &networks); err != nil {
		return err
	}
	for _, n := range networks {
		if n.Managed {
			post := api.NetworksPost{Name: n.Name, Type: n.Type}
			post.Config, post.Description = n.Config, n.Description
			maps.DeleteFunc(post.Config, func(key, _ string) bool { return volatile(key) })
			have.Networks = append(have.Networks, api.InitNetworksProjectPost{NetworksPost: post, Project: "default"})
		}
	}
	var pools []api.StoragePool
	if _, err := s.Get(ctx, "/1.0/storage-pools?recursion=1", &pools); err != nil {
		return err
	}
	for _, p := range pools {
		post := api.StoragePoolsPost{Name: p.Name, Driver: p.Driver}
		post.Config, post.Description = p.Config, p.Description
		have.StoragePools = append(have.StoragePools, post)
	}
	if have.StorageVolumes, err = volumes(ctx, s); err != nil {
		return err
	}
	var profiles []api.Profile
	if _, err := s.Get(ctx, "/1.0/profiles?recursion=1", &profiles); err != nil {
		return err
	}
	for _, p := range profiles {
		post := api.ProfilesPost{Name: p.Name}
		post.Config, post.Devices, post.Description = p.Config, p.Devices, p.Description
		have.Profiles = append(have.Profiles, post)
	}
	return printYAML(out, have)
}

// volumes are the custom volumes of all projects.
func volumes(ctx context.Context, s Server) (out []api.InitStorageVolumesProjectPost, err error) {
	var all []api.StorageVolume
	if _, err := s.Get(ctx, "/1.0/storage-volumes/custom?recursion=1&all-projects=true", &all); err != nil {
		return nil, err
	}
	for _, v := range all {
		if strings.Contains(v.Name, "/") { // a snapshot
			continue
		}
		post := api.InitStorageVolumesProjectPost{Pool: v.Pool, Project: v.Project}
		post.Name, post.Type, post.ContentType, post.Config, post.Description = v.Name, v.Type, v.ContentType, v.Config, v.Description
		maps.DeleteFunc(post.Config, func(key, _ string) bool { return volatile(key) })
		out = append(out, post)
	}
	return out, nil
}

// volatile tells whether a key is one that a server sets for itself, and another could not take over.
func volatile(key string) bool { return strings.HasPrefix(key, "volatile.") }
