package websocket

import (
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

// bulk is a conversation of up to two megabytes, of which most is there before the endpoint reads: frames of all
// sizes that a buffer may end in, and at the end of most something that is wrong or does not come whole.
func bulk(rng *rand.Rand, masked bool) (octets []byte) {
	sizes := []int{0, 1, 125, 126, 4096, 16 << 10, 65_535, 65_536, bufferSize - 14, bufferSize, longBufferSize/2 - 7, longBufferSize - 14, longBufferSize, 500_000}
	add := func(f frame) {
		octets = f.append(octets, masked, [4]byte{byte(rng.Uint32()), 2, 3, byte(rng.Uint32())})
	}
	data := func() string {
		return string(endlessOctets(rng.IntN(1000), max(0, sizes[rng.IntN(len(sizes))]-rng.IntN(3))))
	}
	for n := rng.IntN(2_000_000); len(octets) < n; {
		switch rng.IntN(6) {
		case 0:
			add(text("a text, aé日👏").more())
			add(ping("in between"))
			add(cont(string(endlessText(0, 30*rng.IntN(500)))))
		case 1:
			add(binaryOf(data()).more())
			add(cont(data()))
		case 2: // many that are alike, as in the buffers that end with one
			for size := rng.IntN(6000); rng.IntN(40) > 0; {
				add(binaryOf(string(endlessOctets(0, size))))
			}
		default:
			add(binaryOf(data()))
		}
	}
	last := []frame{closeFrame(1000, "bye"), emptyClose(), binaryOf("x").claims(1<<63 - 1), binaryOf("x").claims(1 << 62), text("x").claims(1 << 20),
		binaryOf("x").claims(1<<20 + 1), text("\xff"), cont("x"), binaryOf("x").rsv(1), ping("p").more()}
	add(last[rng.IntN(len(last))])
	return append(octets, endlessOctets(0, rng.IntN(2)*400_000)...)
}

// What comes faster than it is read, in long reads, comes to what the reference says too, by each way to read.
func TestConversationsInBulk(t *testing.T) {
	sockets, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()
	seeds := uint64(64)
	if raceEnabled {
		seeds = 16 // it has next to no concurrency, and takes ten times as long
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 6455))
		setup := setSocket | fuzzSetup(seed%8)*setStyle | setSameStyle
		setup |= fuzzSetup(rng.IntN(2))*setServer | fuzzSetup(rng.IntN(2))*setEcho | fuzzSetup(rng.IntN(4))*setCloseAfter | fuzzSetup(rng.IntN(2))*setAhead
		octets := bulk(rng, setup.has(setServer))
		want := setup.judge(octets)
		x := newTalk(t, slices.Clone(octets), nil, setup, sockets)
		x.play()
		if x.check(want, x.finish()); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
