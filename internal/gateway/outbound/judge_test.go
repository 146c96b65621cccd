package outbound

import (
	"net/netip"
	"testing"
)

// TestJudge holds what a dial to a loopback host cannot show: that public addresses next to the refused ranges are public.
func TestJudge(t *testing.T) {
	for want, addresses := range map[verdict][]string{
		public: {"8.8.8.8", "104.18.7.192", "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17",
			"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
			"2606:4700:4700::1111", "2001:4860:4860::8888", "2a00::1", "2003::1", "::ffff:8.8.8.8"},
		private: {"::ffff:127.0.0.1", "::ffff:192.168.1.1", "::1", "fd00::1", "100.100.100.199", "100.100.100.201", "64:ff9b::808:808", "2002:7f00:1::"},
		never:   {"::ffff:169.254.169.254", "fe80::1%eth0", "::1%lo", "2606:4700::1%eth0", "2002:6464:64c8::1", "::", "::2"},
	} {
		for _, s := range addresses {
			if got := judge(netip.MustParseAddr(s)); got != want {
				t.Errorf("judge(%s) = %d, want %d", s, got, want)
			}
		}
	}
	if got := judge(netip.Addr{}); got != never {
		t.Errorf("judge of no address = %d, want never", got)
	}
}
