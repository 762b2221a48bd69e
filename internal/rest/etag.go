package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"lxd/internal/errs"
)

// ETag is the value of the ETag header for an object whose relevant part is v.
func ETag(v any) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(v); err != nil {
		return "", fmt.Errorf("etag: %w", err)
	}
	return `"` + hex.EncodeToString(h.Sum(nil)) + `"`, nil
}

// ifMatch fails with Precondition if the request asks for another version than v; quotes around the tag do not matter.
func ifMatch(r *http.Request, v any) error {
	want := r.Header.Get("If-Match")
	if want == "" || v == nil {
		return nil
	}
	have, err := ETag(v)
	if err != nil {
		return err
	}
	if strings.Trim(want, `"`) != strings.Trim(have, `"`) {
		return errs.Newf(errs.Precondition, "ETag doesn't match: %s is asked for and the object is at %s: read it again", want, have)
	}
	return nil
}
