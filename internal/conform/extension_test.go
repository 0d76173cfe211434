package conform

import "testing"

// This file holds tests of how the kit reads what is negotiated.

// The header is a list as RFC 2616 has it (RFC 6455 section 9.1).
func TestListsOfExtensionsAreReadAsRFC2616HasThem(t *testing.T) {
	for value, want := range map[string]*deflateTerms{
		", permessage-deflate,\t,":                         {},
		"permessage-deflate ; server_max_window_bits = 10": {serverBits: 10},
		`permessage-deflate;server_max_window_bits="1\0"`:  {serverBits: 10},
		`permessage-deflate; client_max_window_bits=" 10"`: nil,
		`permessage-deflate; client_max_window_bits="10`:   nil,
		"permessage-deflate; ; client_no_context_takeover": nil,
		", ,": nil,
	} {
		offers, err := offered([]string{value})
		switch {
		case want == nil && err == nil:
			t.Errorf("%s is read as %v", value, offers)
		case want != nil && (err != nil || len(offers) != 1 || offers[0] != *want):
			t.Errorf("%s is read as %v, %v", value, offers, err)
		}
	}
}

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
