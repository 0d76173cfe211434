package conform

import (
	"flag"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket/internal/command"
)

// This file holds the proof that the kit can fail: endpoints with one thing wrong, and the
// cases that must tell.

// A mutant is a wrong endpoint.
type mutant struct {
	wrong string // what is wrong with it
	role  Role
	tells string // the cases that must not find it right: all that match, and no other
	may   string // cases that may tell, or not
}

// examineMutable runs the cases against the mutable endpoint and returns those that did not
// find it right.
func examineMutable(t *testing.T, wrong string, role Role, patience time.Duration, match func(*Case) bool) map[string]Result {
	t.Helper()
	cfg := Config{Limit: mutableLimit, Patience: patience, Parallel: 32, Match: match, Memory: func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}}
	var results []Result
	if role == Server {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Add(1)
		go mutableServer(ln, wrong, &wg)
		results, err = ExamineServer(t.Context(), "ws://"+ln.Addr().String()+"/", cfg)
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
		wg.Wait()
	} else {
		exam, err := Listen("127.0.0.1:0", nil, cfg)
		if err != nil {
			t.Fatal(err)
		}
		mutableClient(exam, wrong)
		results = exam.Results()
		_ = exam.Close()
	}
	told := make(map[string]Result)
	for _, r := range results {
		if r.Verdict > Right {
			told[r.ID] = r
		}
	}
	return told
}

func TestMain(m *testing.M) {
	command.SideBySide()
	os.Exit(m.Run())
}

func TestRightEndpointIsRight(t *testing.T) {
	t.Parallel()
	for _, role := range []Role{Server, Client} {
		t.Run(role.String(), func(t *testing.T) {
			t.Parallel()
			isRight(t, role, func(c *Case) bool { return !c.alone })
		})
	}
}

// TestRightEndpointIsRightInPeace is the rest of it: nothing else runs meanwhile. These cases are the same for clients.
func TestRightEndpointIsRightInPeace(t *testing.T) {
	roles := []Role{Server}
	if *allCases {
		roles = append(roles, Client)
	}
	for _, role := range roles {
		t.Run(role.String(), func(t *testing.T) { isRight(t, role, (*Case).Alone) })
	}
}

// isRight fails the test for every case that does not find the mutable endpoint right as it is.
func isRight(t *testing.T, role Role, match func(*Case) bool) {
	t.Helper()
	for id, r := range examineMutable(t, "", role, 20*time.Second, match) {
		t.Errorf("%s: %s: %s\n%s", r.Verdict, id, r.Why, strings.Join(r.Log, "\n"))
	}
}

// mutants are the ways in which an endpoint is wrong.
var mutants = []mutant{
	// the opening handshake of servers
	{"takes any method", Server, `^4\.2\.1-method-`, ``},
	{"takes HTTP/1.0", Server, `^4\.2\.1-http-1\.0$`, ``},
	{"does not look at Host", Server, `^4\.2\.1-(no-host|two-hosts)$`, ``},
	{"does not look at Upgrade", Server, `^4\.2\.1-(no-upgrade|upgrade-(longer|other|prefix))$`, ``},
	{"does not look at Connection", Server, `^4\.2\.1-(no-connection|connection-(longer|other|phrase))$`, ``},
	{"finds tokens as substrings", Server, `^4\.2\.1-(connection-(longer|phrase)|upgrade-(longer|prefix))$`, ``},
	{"tokens in lower case only", Server, `^4\.2\.1-(connection|upgrade)-case$`, ``},
	{"takes any version", Server, `^4\.4-version-|^4\.2\.1-(no-version|version-)`, ``},
	{"does not name its version", Server, `^4\.4-version-`, ``},
	{"takes any key", Server, `^4\.2\.1-(key-|no-key$|two-keys$)`, ``},
	{"takes a body", Server, `^4\.2\.1-body$`, ``},
	{"takes any origin", Server, `^10\.2-origin-(foreign|lookalike|null|two)$`, ``},
	{"answers a wrong accept value", Server, `^4\.2\.2-(response|accept-example)$`, `.`},
	{"repeats the subprotocols", Server, `^4\.2\.2-(subprotocols|subprotocol-no-token)$`, ``},
	{"repeats the extensions", Server, `^4\.2\.2-extension-|^7692-7\.1-offer-`, `^7692|compressed`},
	{"loses what comes behind the handshake", Server, `^4\.2\.1-frames?-.*behind-request$`, ``},
	{"takes bad offers", Server, `^7692-7\.1-offer-[^o]|^7692-7\.1-takes-fallback$`, ``},
	{"forgets server_no_context_takeover", Server, `^7692-7\.1-(server-bits-.*-fresh|takes-(all|both-fresh|fallback|server-fresh))$`, ``},
	{"answers client_max_window_bits unasked", Server, `^7692-7\.1-takes-(plain|server-fresh)$`, `^7692|compressed`},
	{"answers a larger client_max_window_bits than was offered", Server, `^7692-7\.1-takes-(all|quoted|client-bits-([89]|1[0-4]))$`, ``},
	// of clients
	{"the same key always", Client, `^4\.1-key-fresh$`, `^4\.1-accept-other$`},
	{"a key of 15 octets", Client, `^4\.1-key(-fresh)?$`, ``},
	{"asks for version 8", Client, `^4\.1-version$`, ``},
	{"asks without Connection", Client, `^4\.1-connection$`, ``},
	{"sends before the response", Client, `^4\.1-waits$`, ``},
	{"does not look at the status", Client, `^4\.1-status-`, ``},
	{"does not look at Upgrade", Client, `^4\.1-(no-upgrade|upgrade-.*)$`, ``},
	{"does not look at Connection", Client, `^4\.1-(no-connection|connection-.*)$`, ``},
	{"does not look at Sec-WebSocket-Accept", Client, `^4\.1-(no-accept|accept-.*)$`, ``},
	{"takes any extension", Client, `^4\.1-extension-|^7692-7\.1-answer-bad-`, ``},
	{"asks for server_no_context_takeover and looks at nothing else in the answer", Client, `^7692-7\.1-answer-bad-`, ``},
	{"takes any subprotocol", Client, `^4\.1-subprotocol-not-offered$`, ``},
	{"loses what comes behind the handshake", Client, `^4\.2\.2-frames?-.*behind-response$`, `.`},
	// frames
	{"takes unmasked frames", Server, `^5\.1-unmasked-`, ``},
	{"takes masked frames", Client, `^5\.1-masked-`, ``},
	{"server masks", Server, `^4\.2\.2-response$|^5\.5\.2-(empty|of-)|^5\.2-text-|^7\.4\.1-`, `.`},
	{"client does not mask", Client, `^4\.1-response$|^5\.5\.2-(empty|of-)|^5\.2-text-|^7\.4\.1-`, `.`},
	{"same key for all frames", Client, `^5\.3-keys-fresh$`, ``},
	{"restarts the key every 4095 octets", Server, `^5\.2-(text|binary)-(4097|16...|32...|65...|131...)$|^5\.3-key-(01000000|00010000|00000100|00000001|37fa213d)-4099$`, `.`},
	{"lengths in 64 bits", Server, `^5\.2-(text|binary)-(\d|\d\d|\d{3}|\d{4})$|^5\.5\.2-of-`, `.`},
	{"takes reserved bits", Client, `^5\.2-rsv|^7692-6-rsv`, ``},
	{"takes unknown opcodes", Server, `^5\.2-opcode-([3-7]|[B-F](-empty|-between)?$|after)|^7\.1\.5-crossing$|^7\.1\.7-`, ``},
	{"takes lengths not in shortest form", Client, `^5\.2-length-(.*-in-(16|64)|ping.*)$`, ``},
	{"takes lengths with the top bit", Server, `^5\.2-length-(8|f|top)`, ``},
	{"takes long control frames", Server, `^5\.5-.*-(126|126-at-once|126-between|127|65536)$`, ``},
	{"takes fragmented control frames", Client, `^5\.5-((close|ping)-more|pong-more(-empty|-between)?$)`, ``},
	{"takes interleaved messages", Server, `^5\.4-new-|^5\.4-order-([TB]0)[TB][01]$`, `^5\.4-order-`},
	{"takes a continuation of nothing", Client, `^5\.4-continuation-|^5\.4-order-C[01]$`, `^5\.4-order-`},
	{"echoes in fragments without end", Server, `^5\.2-text-|^6\.1-`, `.`},
	{"does not answer Pings", Client, `^5\.5\.2-(before|empty|not|octets|of)|^5\.4-pings?-|^5\.5\.3-(one|ten|unsolicited-\d)`, `.`},
	{"answers with empty Pongs", Server, `^5\.5\.2-(before|not|octets|of)|^5\.4-pings?-(answered|between)|^5\.5\.3-(one|ten)`, `.`},
	{"answers with Pongs of 8 octets", Client, `^5\.5\.2-(octets|of-(9|124|125))$|^5\.4-coalesced$|^5\.5\.3-one-by-one$`, ``},
	{"answers Pings after the message", Server, `^5\.4-pings?-|^7692-6-fragments-.*-ping$|^5\.6-utf8-split-by-ping$`, `^5\.4-order-|^6\.2-end-ping-between`},
	{"answers Pongs", Client, `^5\.5\.3-unsolicited-|^5\.4-pong-between$|^5\.5\.1-with-pong$`, `^5\.4-order-.*Po`},
	{"echoes everything as Binary", Server, `^6\.1-types$|^5\.2-text-`, `.`},
	{"drops empty messages", Client, `^5\.2-(binary|text)-0$|^5\.4-(empty-all|octets-0|ping-in-empty)$|^6\.2-(thousand|two-hundred|end-empty-fragments-006)$|^7692-7\.2-(empty.*|takeover-over-empty)$|^7692-6-turns$`, ``},
	{"drops an octet of messages over 65535", Server, `^5\.2-(text|binary)-(65536|65537|131...)$|^5\.4-header-cut-|^5\.4-segments-(100|997|4095|4097)$|^5\.4-three-of-655..$|^10\.4-limit(-empty-last|-fragments)?$|^7692-8-limit$|^7692-7\.2-(incompressible|level-.*-70000)$`, `^6.2-end-long-66000$`},
	{"sets RSV1 without compression", Client, `^5\.2-(text|binary)-\d+$|^4\.1-response`, `.`},
	{"delivers short messages", Server, `^6\.2-end-long-(100|4096|16384|32768)$|^6\.2-end-text-0(06|10)$`, `^6\.2-end-`},
	// text
	{"does not check UTF-8", Client, `^8\.1-(bad|compressed-bad|fast)-`, `^8\.1-truncated-`},
	{"checks UTF-8 only at the end", Server, `^8\.1-fast-`, ``},
	{"UTF-8 of each frame alone", Client, `^5\.4-octet-fragments|^5\.4-two-(09|15|16|23|24|25)$|^5\.6-utf8-fragments-(after|before|bom|first-[234]|kosme|last-[234]|mixed|noncharacters|planes|replacement)|^5\.6-utf8-split-|^5\.6-utf8-long-`, `^5\.6-utf8-|^8\.1-`},
	{"forgets UTF-8 between frames", Server, `^8\.1-bad-fragments-missing-2$|^8\.1-truncated-(01|03|04|06|07|08|10|11|12)$|^5\.4-octet-fragments`, `^5\.4-two|^5\.6-utf8-|^8\.1-`},
	{"forgets UTF-8 at the end", Client, `^8\.1-bad-(end-|fragments-|)missing-[234]$|^8\.1-truncated-(|fragment-|next-)(01|03|04|06|07|08|10|11|12)$`, ``},
	{"takes surrogates", Server, `^8\.1-bad-(end-|long-|)(surrogate.*|kosme-edited)$|^8\.1-fast-.*-surrogate$`, ``},
	{"takes overlong forms", Client, `^8\.1-bad-(end-|long-|)overlong-.*-[23]$|^8\.1-fast-.*-overlong-[23]$`, `^8\.1-bad-(end-|long-|fragments-|)lonely-e0$`},
	{"takes code points above 10FFFF", Server, `^8\.1-bad-(end-|long-|)(above-10FFFF|f5|last-4-octets)$|^8\.1-fast-.*-(above|f5)$`, `^8\.1-bad-(end-|long-|fragments-|)lonely-f4$`},
	{"does not check UTF-8 of compressed messages", Client, `^8\.1-compressed-bad-`, ``},
	{"does not check UTF-8 of compressed fragments", Server, `^8\.1-compressed-bad-fragments-`, ``},
	{"checks UTF-8 of 32 KiB inflated", Client, `^8\.1-compressed-bad-end-`, ``},
	{"checks UTF-8 of each 32 KiB inflated alone", Server, `^5\.6-compressed-utf8-long$`, ``},
	// closing
	{"does not answer Close", Server, `^5\.5\.1-(after-messages|close|empty|inside-message.*|octets|reason-.*|then-.*|with-.*)$|^7\.4\.1-code-10(0[0-3789]|1[01])(-reason)?$|^7\.4\.2-code-(101[234]|[34]...)$|-order-.*X$|^5\.4-close-between$|^5\.5\.2-after-close$|^7\.1\.5-crossing-first$|^5\.5\.1-tcp-server-first$|^7\.1\.1-half-closed`, ``},
	{"answers Close with 1000", Client, `^5\.5\.1-(inside-message-masked-key|with-hundred)$|^7\.1\.1-half-closed-empty$|^7\.4\.1-code-10(0[123789]|1[01])(-reason)?$|^7\.4\.2-code-(101[234]|[34]...)$`, ``},
	{"answers Close with 1005", Server, `^5\.5\.1-empty$|^7\.1\.1-half-closed-empty$`, ``},
	{"takes any close code", Client, `^5\.5\.1-code-|^7\.4\.1-code-10(04|05|06|15)|^7\.4\.2-code-(0|1|42|500|998|999|1016|1017|1100|1999|2...)(-reason)?$`, `^7\.1\.1-half-closed-empty$`},
	{"takes a Close of one octet", Server, `^5\.5\.1-one-octet-`, ``},
	{"takes any reason", Client, `^8\.1-reason-`, ``},
	{"goes on after Close", Server, `^5\.5\.1-then-(text|fragments|illegal|many)$|^5\.5\.1-tcp-server-first$|^7\.4\.1-code-10(0[0-3789]|1[01])`, `^5\.5\.1-(after-messages|close|empty|inside-message.*|octets|reason-.*|then-.*|with-.*)$|^7\.4\.1-code-10(0[0-3789]|1[01])(-reason)?$|^7\.4\.2-code-(101[234]|[34]...)$|-order-.*X$|^5\.4-close-between$|^5\.5\.2-after-close$|^7\.1\.5-crossing-first$|^7.1.1-half|^7.1.1`},
	{"leaves TCP to the client", Server, `^5\.5\.1-tcp-server-first$|^7\.4\.1-code-10(0[0-3789]|1[01])`, `^5\.5\.1-(after-messages|close|empty|inside-message.*|octets|reason-.*|then-.*|with-.*)$|^7\.4\.1-code-10(0[0-3789]|1[01])(-reason)?$|^7\.4\.2-code-(101[234]|[34]...)$|-order-.*X$|^5\.4-close-between$|^5\.5\.2-after-close$|^7\.1\.5-crossing-first$`},
	{"fails with 1000", Client, `^5\.2-(opcode|rsv)|^8\.1-(bad|fast)-|^5\.1-masked-|^5\.5-`, `.`},
	{"fails with 1011 where 1007 is right", Server, `^8\.1-(bad|compressed-bad|fast|reason)-|^7692-7\.2-corrupt-`, `^8\.1-truncated-`},
	{"fails without Close", Server, `^5\.2-(opcode|rsv)|^8\.1-(bad|fast)-|^5\.1-unmasked-|^7\.1\.7-|^5\.5-`, `.`},
	{"goes on after failing", Client, `^5\.2-(opcode|rsv\d-(text|binary|ping|pong|continuation|fragment))|^8\.1-bad-|^7\.1\.7-then-`, `.`},
	{"leaves TCP open after failing", Server, `^5\.2-(opcode|rsv)|^8\.1-(bad|fast)-|^5\.1-unmasked-|^7\.1\.7-|^5\.5-`, `.`},
	{"closes TCP with octets unread", Server, `^7\.1\.1-close-in-upload$`, `.`},
	// limits
	{"no limit", Server, `^10\.4-claim-|^10\.4-limit-plus-one`, ``},
	{"limit too small by one", Client, `^10\.4-limit(-empty-last|-fragments)?$`, ``},
	{"limit too big by one", Server, `^10\.4-claim-(continuation|limit-plus-one)$|^10\.4-limit-plus-one`, ``},
	{"limit for each frame only", Client, `^10\.4-claim-continuation$|^10\.4-limit-plus-one-(last|fragments)$`, ``},
	{"fails with 1002 where 1009 is right", Client, `^10\.4-claim-|^10\.4-limit-plus-one|^7692-8-(bomb.*|limit-plus-one)$`, ``},
	{"preallocates", Server, `^10\.4-memory-of-a-(continued-)?claim$`, ``},
	// compression
	{"takes RSV1 on continuations", Client, `^7692-6-rsv1-continuation`, ``},
	{"takes RSV1 on control frames", Server, `^7692-6-rsv1-(close|ping|pong)$`, ``},
	{"forgets the context", Server, `^7692-7\.2-takeover-`, ``},
	{"keeps uncompressed messages in the window", Server, `^7692-7\.2-takeover-over-plain$`, ``},
	{"keeps a window that it must not", Client, `^7692-7\.2-fresh-reference$`, ``},
	{"takes over a context that it must not", Server, `^7692-7\.1-(server-bits-15-fresh|takes-(both-fresh|fallback|server-fresh))$`, ``},
	{"exceeds the window agreed", Server, `^7692-7\.1-server-bits-([89]|1[0-4])(-fresh)?$`, ``},
	{"exceeds the window agreed", Client, `^7692-7\.1-answer-(client-bits-([89]|1[0-4])|all)$`, ``},
	{"takes over a context that it must not", Client, `^7692-7\.1-answer-(client-fresh|both-fresh)$`, ``},
	{"delivers corrupt messages", Client, `^7692-7\.2-(corrupt-|fresh-reference$)`, ``},
	{"sends the last four octets of the stream", Server, `^7692-6-(compressed|plain|turns|octets)|^7692-7\.2-(example-|takeover-|level-.*-(1|100|4096|3276.)$)`, `^7692|compressed`},
	{"no limit after decompression", Client, `^7692-8-(bomb(-fragments)?|limit-plus-one)$`, `^7692-8-bomb-memory$`},
	{"ends at BFINAL", Server, `^7692-7\.2-finals`, ``},
}

// A freedom is something that the RFC allows and not every endpoint does.
type freedom struct {
	does      string
	role      Role
	meets     string // the cases in which it shows
	tolerable string // those of them that find it tolerable; the others find it right
}

// freedoms are endpoints that no case may find wrong.
var freedoms = []freedom{
	{"has a page for who asks for no WebSocket", Server, `^4\.2\.1-`, `^4\.2\.1-(no-upgrade|no-connection|(upgrade|connection)-(longer|other|prefix|phrase))$`},
	{"takes a message without its end", Both, `^7692-7\.2-(corrupt|example|empty|level)-`, `^7692-7\.2-corrupt-(fragments-)?truncated$`},
	{"begins anew after a final block", Both, `^7692-7\.2-(corrupt|example|final)|^7692-7\.2-takeover-.*final`, `^7692-7\.2-finals-window$`},
	{"reads names of parameters in any case", Server, `^7692-7\.1-`, `^7692-7\.1-offer-case$`},
	{"writes lists as RFC 2616 has them", Both, `^7692-`, `^7692-(7\.1-(takes|answer)-(plain|both-fresh)|6-compressed)$`},
	{"sends Pongs that nobody has asked for", Both, `^4\.2\.2|^5\.[2456]|^6\.|^7\.|^7692-6-`, `^4\.2\.2-response$|^5\.2-text-|^6\.1-`},
	{"answers only the latest Ping", Both, `^4\.[12]|^5\.[456]|^6\.|^7\.|^7692-[67]|^8\.1-tr`, ``},
	{"answers Close before messages", Both, `^5\.[45]|^6\.|^7\.`, `^5\.5\.1-with-(message|hundred)$|^5\.4-order-T1X$|^7\.1\.1-half-closed$`},
	{"fails before it answers messages", Both, `^5\.[245]|^7\.|^7692-7\.2`, `^7\.1\.7-message-before$|^5\.4-(order-T1C1|continuation-after-(end|fragments))$|^5\.2-opcode-after-echo$|^7692-7\.2-corrupt-second$`},
	{"answers Close at once, and empty", Both, `^5\.[45]|^7\.`, `^5\.5\.1-with-ping$`},
	{"answers a Ping before Close", Both, `^5\.5|^7\.`, `^5\.5\.2-after-close$|^5\.5\.1-then-ping$`},
	{"lets Pongs overtake echoes", Both, `^4\.[12]|^5\.[456]|^6\.|^7\.|^7692-[67]|^8\.1-tr`, ``},
}

// TestFreedomsAreNotWrong requires that no case finds wrong what the RFC allows.
func TestFreedomsAreNotWrong(t *testing.T) {
	t.Parallel()
	for _, f := range freedoms {
		for _, role := range []Role{Server, Client} {
			if f.role&role == 0 {
				continue
			}
			t.Run(f.does+" as "+role.String(), func(t *testing.T) {
				t.Parallel()
				f.isNotWrong(t, role)
			})
		}
	}
}

// isNotWrong fails the test if a case finds the endpoint wrong, or right where it is tolerable.
func (f freedom) isNotWrong(t *testing.T, role Role) {
	meets, tolerable := regexp.MustCompile(f.meets), regexp.MustCompile(f.tolerable)
	told := examineMutable(t, f.does, role, 20*time.Second, func(c *Case) bool { return !c.alone && !c.heavy && meets.MatchString(c.ID) })
	for id, r := range told {
		if r.Verdict == Wrong {
			t.Errorf("%s finds it wrong: %s", id, r.Why)
		}
	}
	for _, c := range Cases() {
		if _, has := told[c.ID]; f.tolerable != "" && tolerable.MatchString(c.ID) && c.Roles&role != 0 && !has {
			t.Errorf("%s finds it right", c.ID)
		}
	}
	if f.tolerable == "" && len(told) > 0 {
		t.Errorf("%d cases find it tolerable", len(told))
	}
}

// allCases makes the mutants meet every case; otherwise they meet those that must tell and a
// sample of the others. The right endpoint meets the long ones as a client too.
var allCases = flag.Bool("all", false, "mutants meet all cases")

// meets chooses the cases for a mutant.
func (m mutant) meets(tells *regexp.Regexp) func(c *Case) bool {
	const sample = 16
	n := 0
	return func(c *Case) bool {
		n++
		slow := c.heavy && !strings.HasPrefix(c.ID, "10.4-limit") && !strings.HasPrefix(c.Section, "7692")
		if c.alone && !tells.MatchString(c.ID) {
			return false
		}
		return tells.MatchString(c.ID) || !slow && (*allCases || (n+len(m.wrong))%sample == 0)
	}
}

// TestMutantsAreFound requires that exactly the right cases tell what is wrong.
func TestMutantsAreFound(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if m.inPeace() {
			continue
		}
		t.Run(m.wrong, func(t *testing.T) {
			t.Parallel()
			m.isFound(t)
		})
	}
}

// TestMutantsAreFoundInPeace is the rest of it.
func TestMutantsAreFoundInPeace(t *testing.T) {
	for _, m := range mutants {
		if m.inPeace() {
			t.Run(m.wrong, m.isFound)
		}
	}
}

// inPeace says whether the cases that must tell measure memory.
func (m mutant) inPeace() bool { return strings.Contains(m.tells, "memory") }

// isFound fails the test if the right cases, or others, do not tell what is wrong.
func (m mutant) isFound(t *testing.T) {
	tells, may := regexp.MustCompile(m.tells), regexp.MustCompile(m.may)
	told := examineMutable(t, m.wrong, m.role, 500*time.Millisecond, m.meets(tells))
	for _, c := range Cases() {
		_, has := told[c.ID]
		must := c.Roles&m.role != 0 && tells.MatchString(c.ID)
		switch {
		case must && !has && !(m.inPeace() && m.stillTold(t, c.ID)): // what ran before may have given memory back meanwhile
			t.Errorf("%s finds this %s right", c.ID, m.role)
		case has && !must && (m.may == "" || !may.MatchString(c.ID)) && m.stillTold(t, c.ID):
			t.Errorf("%s, too, finds this %s %s: %s", c.ID, m.role, told[c.ID].Verdict, told[c.ID].Why)
		}
	}
	if len(told) == 0 {
		t.Error("no case tells")
	}
}

// stillTold repeats a case with more patience: a busy machine may have been too slow for it.
func (m mutant) stillTold(t *testing.T, id string) bool {
	return len(examineMutable(t, m.wrong, m.role, 5*time.Second, func(c *Case) bool { return c.ID == id })) > 0
}

// TestMutantsAreMany holds that nothing is wrong in a way that the table does not have.
func TestMutantsAreMany(t *testing.T) {
	code, err := os.ReadFile("mutable_test.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, m := range mutants {
		listed[m.wrong] = true
	}
	for _, f := range freedoms {
		listed[f.does] = true
	}
	for _, found := range regexp.MustCompile(`e\.is\("([^"]+)"\)`).FindAllStringSubmatch(string(code), -1) {
		if !listed[found[1]] {
			t.Errorf("an endpoint can be wrong in that it %s, and no mutant is", found[1])
		}
	}
}
