package serve

// This file holds a limit on how often one may speak.

import "time"

// Rate is how often one may speak: Burst times at once, and PerSecond times a second in the long run.
type Rate struct {
	PerSecond float64
	Burst     int
}

// A Bucket counts for one speaker. The zero value is full. It is for one goroutine at a time.
type Bucket struct {
	spent   float64   // how much of the burst, as of last
	last    time.Time // the last call of Take
	refused int       // since spent was 0
}

// Take takes one turn. It reports whether there was one, and else how many were refused since all of the burst was there.
func (b *Bucket) Take(r Rate, now time.Time) (ok bool, refused int) {
	if !b.last.IsZero() {
		b.spent -= now.Sub(b.last).Seconds() * r.PerSecond
	}
	b.last = now
	if b.spent <= 0 {
		b.spent, b.refused = 0, 0
	}
	if b.spent+1 > float64(r.Burst) {
		b.refused++
		return false, b.refused
	}
	b.spent++
	return true, 0
}
