// Package challenge is the route by which an ACME service sees that a name is this server.
package challenge

import (
	"io"
	"net/http"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

// Routes is that route; find knows the answers.
func Routes(find func(token string) (string, error)) []rest.Route {
	return []rest.Route{rest.Raw("GET /.well-known/acme-challenge/{token}", auth.Public, func(w http.ResponseWriter, c *rest.Call) error {
		answer, err := find(c.PathValue("token"))
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/plain")
		_, err = io.WriteString(w, answer)
		return err
	}).Global().Answers(rest.Body{Media: "text/plain"})}
}
