package api_test

import (
	"testing"

	"lxd/api"
)

func TestStatusCode(t *testing.T) {
	for code, want := range map[api.StatusCode]struct {
		text  string
		final bool
	}{
		api.StatusOperationCreated: {"Operation created", false},
		api.StatusRunning:          {"Running", false},
		api.StatusSuccess:          {"Success", true},
		api.StatusFailure:          {"Failure", true},
		api.StatusCancelled:        {"Cancelled", true},
		999:                        {"Unknown status 999", false},
	} {
		if code.String() != want.text || code.Final() != want.final {
			t.Errorf("%d: %q, final %v; want %q, %v", int(code), code, code.Final(), want.text, want.final)
		}
	}
}

func TestParseStatusCode(t *testing.T) {
	if code, ok := api.ParseStatusCode("Frozen"); !ok || code != api.StatusFrozen {
		t.Errorf("Frozen: %d, %v", code, ok)
	}
	if _, ok := api.ParseStatusCode("frozen"); ok {
		t.Error("status texts are matched as they are written")
	}
}

func TestOperationType(t *testing.T) {
	op := api.OperationStartingInstance
	if op.String() != "Starting instance" || op.Entity() != api.EntityTypeInstance || op != 16 {
		t.Errorf("got %d %q on %q", int(op), op, op.Entity())
	}
}

func TestWarningType(t *testing.T) {
	w := api.WarningStoragePoolUnavailable
	if w.String() != "Storage pool unavailable" || w.Severity() != api.WarningSeverityHigh {
		t.Errorf("got %q, severity %q", w, w.Severity())
	}
}
