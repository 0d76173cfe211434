//go:build !linux

package websocket

// isOutOfReach says whether it is known that nothing reaches the peer, which it is
// on Linux only.
func isOutOfReach(any) bool { return false }

// backlog is how much the peer has yet to acknowledge: not known.
func backlog(any) uint32 { return 0 }

// segmentOf is how many octets TCP sends at a time on a socket: not known.
func segmentOf(int) int { return 0 }

// wakeFor asks for nothing: a reader is woken for any octets.
func wakeFor(int, int32, int32) int32 { return 0 }
