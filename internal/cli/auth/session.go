package auth

import (
	"github.com/spf13/cobra"

	"lxd/api"
	"lxd/client"
	"lxd/internal/cli/command"
	"lxd/internal/cli/render"
)

// sessions are logins to the commands that all objects share; nothing about them can be changed.
type sessions = command.Kind[api.OIDCSession, struct{}]

func sessionCommand(a *command.App) *cobra.Command {
	k := &sessions{App: a, Noun: "OIDC session", Branch: "auth oidc-session", Words: "[<remote>:]<session_id>", Names: 1,
		Path: func(n []string) string { return client.Path("auth", "oidc-sessions", n[0]) }}
	show := using(k.Show(), "show [<remote>:]<session ID>")
	show.Short, show.Long = "Show an OIDC session", "Show an OIDC session"
	return command.Branch("oidc-session", "Manage logins through the identity provider",
		k.Delete("Delete OIDC sessions", "OIDC session %s deleted"), sessionList(k), show)
}

func sessionList(k *sessions) *cobra.Command {
	return k.List(command.Listing[api.OIDCSession]{Short: "List OIDC sessions", Letters: "ueiacx",
		Columns: []command.Column[api.OIDCSession]{
			command.Col('u', "UUID", func(s *api.OIDCSession) string { return s.UUID }),
			command.Col('e', "EMAIL", func(s *api.OIDCSession) string { return s.Email }),
			command.Col('i', "IP", func(s *api.OIDCSession) string { return s.IP }),
			command.Col('a', "USER AGENT", func(s *api.OIDCSession) string { return s.UserAgent }),
			command.Col('c', "CREATED AT", func(s *api.OIDCSession) string { return render.Time(s.CreatedAt) }),
			command.Col('x', "EXPIRES AT", func(s *api.OIDCSession) string { return render.Time(s.ExpiresAt) }),
		}})
}
