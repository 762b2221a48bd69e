// Package naming says which names instances may have, and makes some up.
package naming

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"lxd/internal/errs"
)

const maxName = 63

// Check fails on a name that an instance may not have: it is its host name. The kind is Internal on purpose: clients know
// this failure by status 500.
func Check(name string) error {
	bad := func(why string) error {
		return errs.Newf(errs.Internal, "invalid instance name %q: %s", name, why)
	}
	switch {
	case name == "":
		return bad("it is empty")
	case len(name) > maxName:
		return bad("it is longer than " + strconv.Itoa(maxName) + " characters")
	case strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-"):
		return bad("it may not start or end with a hyphen")
	case strings.Trim(name, "0123456789") == "":
		return bad("it may not be a plain number")
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !Allowed(r) }); i >= 0 {
		return bad("only letters, digits and hyphens are allowed")
	}
	return nil
}

// Allowed tells whether a name may have that character.
func Allowed(r rune) bool {
	return r == '-' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// New makes up a name of two words for an instance that was given none.
func New() string {
	return adjectives[rand.IntN(len(adjectives))] + "-" + nouns[rand.IntN(len(nouns))]
}

// The words are short, plain and told apart easily when spoken; 64 × 64 of them make a clash rare.
var (
	adjectives = strings.Fields(`able amber apt arctic balmy bold brave breezy bright brisk calm candid clear clever coral cosmic
		cozy crisp daring deft eager early easy fair fancy fast fine fleet fond fresh gentle glad golden grand green handy happy
		hardy honest humble ideal jolly keen kind lively loyal lucid lucky mellow merry mild misty neat nimble noble olive plucky
		polite proud quick quiet rapid ready`)
	nouns = strings.Fields(`acorn alder anchor aspen badger basil beacon birch bison bobcat brook canyon cedar clover comet condor
		coral crane cricket dolphin dune egret ember falcon fern finch fjord fox gecko glacier grove harbor hare hawk heron
		island ivy jackal jasper kestrel lagoon lark lemur lichen linden lynx maple marlin marten meadow otter owl pebble
		pelican pine plover puffin raven reef robin spruce stork swift thrush`)
)
