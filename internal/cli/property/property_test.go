package property_test

import (
	"strings"
	"testing"
	"time"

	"lxd/internal/cli/property"
)

type object struct {
	Text   string            `json:"text"`
	Flag   bool              `json:"flag,omitempty"`
	Number int64             `json:"number"`
	When   time.Time         `json:"when"`
	Config map[string]string `json:"config"`
}

func TestReadAndWrite(t *testing.T) {
	for key, text := range map[string]string{"text": "hello", "flag": "true", "number": "-5", "when": "2026-03-04T05:06:07Z"} {
		var o object
		if err := property.Write(&o, map[string]string{key: text}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if got, err := property.Read(&o, key); err != nil || got != text {
			t.Errorf("%s: got %q, %v", key, got, err)
		}
		if err := property.Write(&o, map[string]string{key: ""}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if o.Text != "" || o.Flag || o.Number != 0 || !o.When.IsZero() {
			t.Errorf("%s was not unset: %+v", key, o)
		}
	}
}

func TestRefusals(t *testing.T) {
	var o object
	for key, text := range map[string]string{"flag": "maybe", "number": "1.5", "when": "today", "config": "x", "nosuch": "x"} {
		if err := property.Write(&o, map[string]string{key: text}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
	}
	if _, err := property.Read(&o, "config"); err == nil || !strings.Contains(err.Error(), "text, flag, number, when") {
		t.Errorf("got %v", err)
	}
}
