package websocket

// Status codes, what a Close frame carries, and the errors that say who ended a
// connection (RFC 6455 sections 5.5.1 and 7.4).

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// StatusCode says why a connection is closed (RFC 6455 section 7.4). 3000 to 3999
// are for libraries and frameworks, 4000 to 4999 for applications.
type StatusCode int

const (
	StatusNormalClosure           StatusCode = 1000 // the purpose is fulfilled
	StatusGoingAway               StatusCode = 1001 // the server goes down, or the browser leaves the page
	StatusProtocolError           StatusCode = 1002 // the peer broke a rule of the protocol
	StatusUnsupportedData         StatusCode = 1003 // a type of message that can't be accepted
	StatusNoStatusRcvd            StatusCode = 1005 // the Close frame had no code; never on the wire
	StatusAbnormalClosure         StatusCode = 1006 // there was no Close frame; never on the wire
	StatusInvalidFramePayloadData StatusCode = 1007 // such as text that is not UTF-8
	StatusPolicyViolation         StatusCode = 1008
	StatusMessageTooBig           StatusCode = 1009
	StatusMandatoryExtension      StatusCode = 1010 // the client misses an extension
	StatusInternalError           StatusCode = 1011
	StatusServiceRestart          StatusCode = 1012
	StatusTryAgainLater           StatusCode = 1013
	StatusBadGateway              StatusCode = 1014
	StatusTLSHandshake            StatusCode = 1015 // TLS failed; never on the wire
)

// maySend says whether a Close frame may carry the code: it is defined for that,
// by the RFC or in IANA's registry, or from the ranges that are free for use
// (RFC 6455 section 7.4.2).
func (code StatusCode) maySend() bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

const (
	// maxControlPayload is how many octets a control frame carries at most (RFC
	// 6455 section 5.5).
	maxControlPayload = 125
	// maxReason leaves room for the status code.
	maxReason = maxControlPayload - 2
)

// CloseError says that the peer has closed the connection with a Close frame.
//
// Handle and Message of a Server may return one, to close the connection with its
// code and reason. Server.Closed then gets that one, though nothing was received:
// its text, which names the peer, and CloseStatus can't tell one from the other.
type CloseError struct {
	Code   StatusCode // as received; 1005 where the Close frame had none
	Reason string     // UTF-8, at most 123 octets
}

func (e *CloseError) Error() string {
	if e.Code == StatusNoStatusRcvd {
		return "websocket: closed by the peer without a status code"
	}
	if e.Reason == "" {
		return fmt.Sprintf("websocket: closed by the peer with %d", e.Code)
	}
	return fmt.Sprintf("websocket: closed by the peer with %d: %q", e.Code, e.Reason)
}

// ProtocolError says that the peer broke a rule, and which.
type ProtocolError struct {
	Code    StatusCode // what our Close frame said
	Section string     // of RFC 6455, such as "5.4"; of another as "RFC 7692 6.1"
	Rule    string     // how it was broken
}

func (e *ProtocolError) Error() string {
	return "websocket: " + e.Rule + " (" + inFull(e.Section) + ")"
}

// inFull is a Section with its RFC: "5.4" is "RFC 6455 section 5.4", and "RFC 7692 6.1" is
// "RFC 7692 section 6.1".
func inFull(section string) string {
	rfc := "RFC 6455"
	if strings.HasPrefix(section, "RFC ") {
		at := strings.LastIndexByte(section, ' ')
		rfc, section = section[:at], section[at+1:]
	}
	return rfc + " section " + section
}

// violation makes the variable that stands beside the rule it names.
func violation(code StatusCode, section, rule string) *ProtocolError {
	return &ProtocolError{Code: code, Section: section, Rule: rule}
}

// CloseStatus returns the code of the Close frame that err tells of: one that was
// received, 1005 where it had none. It returns -1 for any other error and nil. Of a
// CloseError that a Server's Handle or Message has made it returns that one's code.
// Conn.Close refuses -1, as it does every other code that is not sent, but takes 1005.
func CloseStatus(err error) StatusCode {
	var closed *CloseError
	if errors.As(err, &closed) && closed != nil {
		return closed.Code
	}
	return -1
}

var (
	errCloseShort  = violation(StatusProtocolError, "5.5.1", "payload of a Close frame is one octet long")
	errCloseCode   = violation(StatusProtocolError, "7.4", "Close frame with a status code that must not be sent")
	errCloseReason = violation(StatusInvalidFramePayloadData, "5.5.1", "reason of a Close frame is not UTF-8")
)

// appendClosePayload appends the payload of a Close frame to b: two octets of
// code and the reason, of which at most 123 octets fit. 1005 makes it empty.
func appendClosePayload(b []byte, code StatusCode, reason string) []byte {
	if code == StatusNoStatusRcvd {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, cutReason(reason)...)
}

// cutReason is as much of a reason as a Close frame has room for, in whole
// characters.
func cutReason(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// parseClosePayload is appendClosePayload's twin.
func parseClosePayload(p []byte) (*CloseError, error) {
	if len(p) == 0 {
		return &CloseError{Code: StatusNoStatusRcvd}, nil
	}
	if len(p) == 1 {
		return nil, errCloseShort
	}
	code, reason := StatusCode(binary.BigEndian.Uint16(p)), p[2:]
	switch {
	case !code.maySend():
		return nil, errCloseCode
	case !validUTF8(reason):
		return nil, errCloseReason
	}
	return &CloseError{Code: code, Reason: string(reason)}, nil
}

// checkClose says why Close can't be called with code and reason.
func checkClose(code StatusCode, reason string) error {
	switch {
	case code == StatusNoStatusRcvd && reason == "":
		return nil
	case code == StatusNoStatusRcvd:
		return errors.New("websocket: a Close frame without a code (1005) has no reason")
	case !code.maySend():
		return fmt.Errorf("websocket: status code %d may not be sent: use 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455 section 7.4)", code)
	case !utf8.ValidString(reason):
		return errors.New("websocket: close reason is not UTF-8 (RFC 6455 section 5.5.1)")
	}
	return nil
}
