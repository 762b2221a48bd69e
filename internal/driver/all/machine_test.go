package all_test

import (
	"testing"

	"lxd/internal/driver/all"
	"lxd/internal/errs"
)

func TestContainersNeedTheirHelper(t *testing.T) {
	if _, err := all.Containers("/no/such/helper"); !errs.Is(err, errs.Unavailable) {
		t.Fatal(err)
	}
}
