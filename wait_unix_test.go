//go:build unix

package websocket

import (
	"math"
	"runtime"
	"testing"
)

// Others go first where that helps, or costs nothing; where it does not help, and another processor is woken for it, seldom.
func TestYieldIsSkippedWhereItIsOfNoUse(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, row := range []struct {
		procs  int
		useful bool
		yields int // of the first 16 reads, and of the 1,024 after them
	}{{1, false, 16 + 1024}, {1, true, 16 + 1024}, {2, true, 16 + 1024}, {2, false, 16 + 1024/skippedYields}} {
		runtime.GOMAXPROCS(row.procs)
		var s source
		yields := 0
		read := func(useful bool) {
			s.raw.dry = true
			s.yield()
			if s.yielded {
				yields++
			}
			s.raw.waited = !useful
			s.noteYield()
		}
		for range 16 + 1024 {
			read(row.useful)
		}
		if yields != row.yields {
			t.Errorf("%d processors, useful: %t: %d yields, want %d", row.procs, row.useful, yields, row.yields)
		}
		for range 2 * skippedYields { // it helps again
			read(true)
		}
		yields = 0
		read(true)
		if yields != 1 {
			t.Errorf("%d processors, useful: %t: others do not go first again", row.procs, row.useful)
		}
	}
}

// A read knows whether it has found anything at once.
func TestReadThatFindsNothingKnowsIt(t *testing.T) {
	r, far := rawPair(t)
	r.src.raw.noWait = true
	for _, there := range []bool{true, false, true} {
		if there {
			if _, err := far.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		r.src.raw.rearm()
		buf, _, err := r.src.fill(0, 0)
		if (err == nil) != there || r.src.raw.hasWaited() == there {
			t.Errorf("there is something: %t; got %v, waited: %t", there, err, r.src.raw.hasWaited())
		}
		buf.free()
	}
}

// A long read ends within its buffer, and is longer than a usual one, whatever the last header has declared.
func TestLongReadEndsWithinItsBuffer(t *testing.T) {
	r := reader{inPlace: true}
	r.src.raw.full = true
	for _, length := range []int64{0, 1, 125, 126, 65_535, 65_536, 1 << 17, bufferSize, longBufferSize/2 - 13, longBufferSize / 2, longBufferSize/2 + 1,
		longBufferSize - 15, longBufferSize - maxHeader, longBufferSize - maxHeader + 1, longBufferSize, 1 << 20, 1 << 31, 1 << 32, math.MaxInt64 - 14, math.MaxInt64} {
		for _, masked := range []bool{false, true} {
			r.ahead = Header{Fin: true, Opcode: OpBinary, Masked: masked, Length: length}
			for _, left := range []int64{0, 1, 5, 1000, 65_536, length - 1, length} {
				r.left = min(max(left, 0), length)
				if most := r.most(); most != 0 && (most <= bufferSize || most > longBufferSize) {
					t.Errorf("length %d, %d left: a long read of %d octets", length, r.left, most)
				}
			}
		}
	}
}

// What has to be copied is read many messages at a time only where they are short: of a long one, the better part can
// be read straight to where it is wanted.
func TestLongReadsAreForWhatStaysInPlaceAndShortMessages(t *testing.T) {
	for _, row := range []struct {
		length           int64
		inPlace, copying bool // by a long read
	}{{0, true, true}, {512, true, true}, {4 << 10, true, true}, {32 << 10, true, true}, {32<<10 + 1, true, false}, {64 << 10, true, false}, {1 << 20, false, false}} {
		var r reader
		r.src.raw.full = true
		r.ahead = Header{Fin: true, Opcode: OpBinary, Masked: true, Length: row.length}
		copying := r.most() > 0
		r.inPlace = true
		if inPlace := r.most() > 0; inPlace != row.inPlace || copying != row.copying {
			t.Errorf("%d octets: a long read to stay in place %t, to be copied %t, want %t and %t", row.length, inPlace, copying, row.inPlace, row.copying)
		}
	}
}
