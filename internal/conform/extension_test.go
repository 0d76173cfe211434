package conform

import (
	"testing"
)

// This file holds tests of how the kit reads what is negotiated.

// A client may offer the extension several times; a server may answer any of the offers (RFC 7692 section 5).
func TestEachOfAClientsOffersCounts(t *testing.T) {
	offers, err := offered([]string{deflateName + "; " + serverNoTakeover, deflateName + "; " + clientMaxBits + "=12"})
	if err != nil {
		t.Fatal(err)
	}
	answer, terms := answerTo(offers, deflateName+"; "+clientMaxBits+"=10")
	if want := deflateName + "; " + clientMaxBits + "=10"; answer != want || terms == nil {
		t.Errorf("the answer is %q where %q is right", answer, want)
	}
	if _, err := offered([]string{deflateName + ", " + deflateName + "; x_conform"}); err == nil {
		t.Error("a wrong second offer is not seen")
	}
}

// "… a value equal to or smaller than the received value" (RFC 7692 section 7.1.2.2).
func TestNoAnswerHasALargerWindowThanWasOffered(t *testing.T) {
	offers, err := offered([]string{deflateName + "; " + clientMaxBits + "=10"})
	if err != nil {
		t.Fatal(err)
	}
	for bits, may := range map[string]bool{"9": true, "10": true, "11": false, "15": false} {
		if _, terms := answerTo(offers, deflateName+"; "+clientMaxBits+"="+bits); (terms != nil) != may {
			t.Errorf("an answer of %s is given: %t", bits, terms != nil)
		}
	}
}
