package websocket

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestMaySendEveryStatusCode holds every number that fits a Close frame, and some
// that don't, against section 7.4 and IANA's registry.
func TestMaySendEveryStatusCode(t *testing.T) {
	may := map[StatusCode]bool{}
	for _, code := range []StatusCode{
		StatusNormalClosure, StatusGoingAway, StatusProtocolError, StatusUnsupportedData,
		StatusInvalidFramePayloadData, StatusPolicyViolation, StatusMessageTooBig, StatusMandatoryExtension,
		StatusInternalError, StatusServiceRestart, StatusTryAgainLater, StatusBadGateway,
	} {
		may[code] = true
	}
	for code := StatusCode(-2); code < 1<<16+5000; code++ {
		want := may[code] || code >= 3000 && code < 5000
		if code.maySend() != want {
			t.Errorf("%d: maySend %v, want %v", code, code.maySend(), want)
		}
		if err := checkClose(code, ""); (err == nil) != (want || code == StatusNoStatusRcvd) {
			t.Errorf("%d: checkClose gave %v", code, err)
		}
		if code < 0 || code >= 1<<16 {
			continue
		}
		closed, err := parseClosePayload([]byte{byte(code >> 8), byte(code)})
		switch {
		case want && (err != nil || closed.Code != code || closed.Reason != ""):
			t.Errorf("%d received: got %v and %v, want the code", code, closed, err)
		case !want && err != error(errCloseCode):
			t.Errorf("%d received: got %v and %v, want %v", code, closed, err, errCloseCode)
		}
	}
}

// TestClosePayload is appended and parsed:
//
//	 0                   1
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7
//	+-------------------------------+- - - -
//	|          status code          | reason
//	+-------------------------------+- - - -
func TestClosePayload(t *testing.T) {
	for _, row := range []struct {
		code    StatusCode
		reason  string
		payload string
	}{
		{StatusNoStatusRcvd, "", ""},
		{StatusNormalClosure, "", "\x03\xe8"},
		{StatusNormalClosure, "bye", "\x03\xe8bye"},
		{StatusGoingAway, "Auf Wiedersehen, schöne Grüße 👏", "\x03\xe9Auf Wiedersehen, schöne Grüße 👏"},
		{3000, "", "\x0b\xb8"},
		{4999, strings.Repeat("x", 123), "\x13\x87" + strings.Repeat("x", 123)},
	} {
		if got := appendClosePayload([]byte("ahead"), row.code, row.reason); string(got) != "ahead"+row.payload {
			t.Errorf("%d %q appended: got %q, want %q", row.code, row.reason, got, "ahead"+row.payload)
		}
		got, err := parseClosePayload([]byte(row.payload))
		if err != nil || *got != (CloseError{row.code, row.reason}) {
			t.Errorf("%q parsed: got %v and %v, want %d %q", row.payload, got, err, row.code, row.reason)
		}
	}
}

// TestClosePayloadRefused: each way to be wrong has its rule and its code.
func TestClosePayloadRefused(t *testing.T) {
	for _, row := range []struct {
		why, payload string
		want         *ProtocolError
		code         StatusCode
	}{
		{"one octet is no status code", "\x03", errCloseShort, 1002},
		{"0 is no status code", "\x00\x00", errCloseCode, 1002},
		{"999 is below all ranges", "\x03\xe7", errCloseCode, 1002},
		{"1005 must not be sent", "\x03\xed", errCloseCode, 1002},
		{"a bad code comes before a bad reason", "\x03\xee\xff", errCloseCode, 1002},
		{"the reason is not UTF-8", "\x03\xe8\xff", errCloseReason, 1007},
		{"the reason ends inside a character", "\x03\xe8caf\xc3", errCloseReason, 1007},
	} {
		closed, err := parseClosePayload([]byte(row.payload))
		if closed != nil || err != error(row.want) || row.want.Code != row.code {
			t.Errorf("%s: got %v and %v, want %v with %d", row.why, closed, err, row.want, row.code)
		}
	}
}

// TestReasonIsCutAtARune: 125 octets less the code leave 123, of whole characters.
func TestReasonIsCutAtARune(t *testing.T) {
	for _, filler := range []string{"x", "é", "語", "👏"} {
		for before := range 5 {
			for n := range 140 {
				reason := strings.Repeat("-", before) + strings.Repeat(filler, n)
				got := string(appendClosePayload(nil, StatusNormalClosure, reason)[2:])
				fits := min(n, (maxReason-before)/len(filler))
				if want := strings.Repeat("-", before) + strings.Repeat(filler, fits); got != want {
					t.Fatalf("%d octets: cut to %q, want %q", len(reason), got, want)
				}
			}
		}
	}
	long := strings.Repeat("\x80", 200)
	if got := appendClosePayload(nil, StatusNormalClosure, long); len(got) > maxControlPayload {
		t.Errorf("200 octets that are no characters: %d octets of payload", len(got))
	}
}

func TestCheckClose(t *testing.T) {
	for _, row := range []struct {
		code   StatusCode
		reason string
		want   string // in the error; "" for none
	}{
		{StatusNormalClosure, "", ""},
		{StatusNormalClosure, strings.Repeat("long", 100), ""},
		{4000, "Grüße", ""},
		{StatusNoStatusRcvd, "", ""},
		{StatusNoStatusRcvd, "why", "has no reason"},
		{StatusAbnormalClosure, "", "status code 1006 may not be sent"},
		{StatusTLSHandshake, "", "status code 1015 may not be sent"},
		{0, "", "status code 0 may not be sent"},
		{-1, "", "status code -1 may not be sent"},
		{1000 + 1<<16, "", "status code 66536 may not be sent"},
		{StatusNormalClosure, "caf\xc3", "not UTF-8"},
	} {
		err := checkClose(row.code, row.reason)
		if row.want == "" && err != nil {
			t.Errorf("%d %q: got %v, want no error", row.code, row.reason, err)
		}
		if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%d %q: got %v, want an error with %q", row.code, row.reason, err, row.want)
		}
	}
}

func TestCloseStatus(t *testing.T) {
	for _, row := range []struct {
		err  error
		want StatusCode
	}{
		{nil, -1},
		{io.EOF, -1},
		{errCloseCode, -1},
		{&CloseError{Code: StatusGoingAway}, StatusGoingAway},
		{&CloseError{Code: StatusNoStatusRcvd}, StatusNoStatusRcvd},
		{fmt.Errorf("read: %w", &CloseError{Code: 4001}), 4001},
		{errors.Join(io.EOF, &CloseError{Code: 4002}), 4002},
	} {
		if got := CloseStatus(row.err); got != row.want {
			t.Errorf("%v: got %d, want %d", row.err, got, row.want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{&CloseError{Code: 1005}, "websocket: closed by the peer without a status code"},
		{&CloseError{Code: 1001}, "websocket: closed by the peer with 1001"},
		{&CloseError{Code: 4000, Reason: "bye\n"}, `websocket: closed by the peer with 4000: "bye\n"`},
		{violation(1002, "5.5", "control frame longer than 125 octets"), "websocket: control frame longer than 125 octets (RFC 6455 section 5.5)"},
		{violation(1002, "RFC 7692 6.1", "RSV1 on a continuation"), "websocket: RSV1 on a continuation (RFC 7692 section 6.1)"},
	} {
		if got := row.err.Error(); got != row.want {
			t.Errorf("got %s, want %s", got, row.want)
		}
	}
}
