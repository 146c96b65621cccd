package gateway

import (
	"math/bits"
	"sync"

	"gatehouse"
)

// typicalSamples is how many answers of a deployment must have been seen before what is typical of them is relied on.
const typicalSamples = 100

// typicals keeps for each deployment how many tokens its answers lately had. It fills as answers are settled and is empty when a node
// starts.
type typicals struct {
	mu sync.RWMutex
	of map[string]*typical // by the deployment's id; guarded by mu
}

// typical is a histogram of the tokens of answers. Its buckets grow by a quarter of a power of two, so that a quantile is at most a
// quarter too high and never too low; older answers count half once there are 4,096 newer ones.
type typical struct {
	deployment *gatehouse.Deployment

	mu     sync.Mutex
	counts [typicalBuckets]uint32 // guarded by mu, as is total
	total  uint32
}

const (
	typicalBuckets = 41 * 4
	typicalWindow  = 8192
)

// bucketOf returns the bucket of a number of tokens, whose upper edge is the greatest number in it.
func bucketOf(n int64) int {
	if n < 4 {
		return int(max(n, 0))
	}
	power := bits.Len64(uint64(n)) - 1
	return min((power-1)*4+int(n>>(power-2)&3), typicalBuckets-1)
}

// edgeOf returns the greatest number of tokens in a bucket.
func edgeOf(bucket int) int64 {
	if bucket < 4 {
		return int64(bucket)
	}
	power := bucket/4 + 1
	return (int64(4+bucket%4)+1)<<(power-2) - 1
}

// add counts an answer.
func (t *typicals) add(deployment *gatehouse.Deployment, tokens int64) {
	t.mu.RLock()
	one := t.of[deployment.ID]
	t.mu.RUnlock()
	if one == nil {
		t.mu.Lock()
		if one = t.of[deployment.ID]; one == nil {
			if t.of == nil {
				t.of = map[string]*typical{}
			}
			one = &typical{deployment: deployment}
			t.of[deployment.ID] = one
		}
		t.mu.Unlock()
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.total == typicalWindow {
		one.total = 0
		for i := range one.counts {
			one.counts[i] /= 2
			one.total += one.counts[i]
		}
	}
	one.counts[bucketOf(tokens)]++
	one.total++
}

// most returns what 99 of 100 answers of a deployment lately did not exceed, and false while too few are known.
func (t *typicals) most(deployment string) (int64, bool) {
	t.mu.RLock()
	one := t.of[deployment]
	t.mu.RUnlock()
	if one == nil {
		return 0, false
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.total < typicalSamples {
		return 0, false
	}
	above := one.total / 100 // as many may be above
	for i := typicalBuckets - 1; i >= 0; i-- {
		if one.counts[i] > above {
			return edgeOf(i), true
		}
		above -= one.counts[i]
	}
	return 0, false
}

// forget drops the deployments that are gone.
func (t *typicals) forget(live func(*gatehouse.Deployment) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, one := range t.of {
		if !live(one.deployment) {
			delete(t.of, id)
		}
	}
}

// learn counts an answer whose upstream said how many tokens it had.
func (x *exchange) learn() {
	if x.plan.deployment != nil && x.complete && x.record.Status < 300 && x.settlement.Confidence == gatehouse.Reported {
		if times := x.ask.Texts(); times > 0 {
			x.g.typicals.add(x.plan.deployment, x.settlement.Units.Output/times)
		}
	}
}
