package media

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"strings"
	"testing"
)

func TestWAV(t *testing.T) {
	for _, label := range []string{"[mock a]", "[mock ab]"} {
		b := wavOf(t, label)
		if got := Millis(b); got != 1500 {
			t.Errorf("plays %d ms, want 1500", got)
		}
		at := bytes.Index(b, []byte("data"))
		if size := int(binary.LittleEndian.Uint32(b[at+4:])); size != 1500*SampleRate*2/1000 || size != len(b)-at-8 || at%2 != 0 {
			t.Errorf("data of %d bytes at %d in a file of %d", size, at, len(b))
		}
		if size := int(binary.LittleEndian.Uint32(b[4:])); size != len(b)-8 {
			t.Errorf("RIFF says %d of %d bytes", size, len(b))
		}
		if !bytes.Contains(b, []byte("ICMT")) || !bytes.Contains(b, []byte(label+"\x00")) {
			t.Error("no label")
		}
	}
	a, b, c := PCM(nil, 1, 100), PCM(nil, 1, 100), PCM(nil, 2, 100)
	if !bytes.Equal(a, b) || bytes.Equal(a, c) || len(a) != 100*SampleRate*2/1000 {
		t.Error("sound does not follow from the seed")
	}
	loudest := int16(0)
	for i := 0; i < len(a); i += 2 {
		loudest = max(loudest, int16(binary.LittleEndian.Uint16(a[i:])))
	}
	if loudest < 1000 || loudest > 3000 {
		t.Errorf("loudest sample %d", loudest)
	}
}

func wavOf(t *testing.T, label string) []byte {
	t.Helper()
	return WAV(7, 1500, label)
}

func TestMillisOfOddFiles(t *testing.T) {
	wav := wavOf(t, "x")
	for _, tt := range []struct {
		name string
		b    []byte
		want int
	}{
		{"nothing", nil, 0},
		{"not WAV", make([]byte, 16000), 1000},
		{"cut WAV", wav[:len(wav)-24000*2], 500},
		{"only a head", wav[:12], 0},
		{"lying chunk", append([]byte("RIFF\x00\x00\x00\x00WAVELIST\xff\xff\xff\x7f"), make([]byte, 1600-20)...), 100},
	} {
		if got := Millis(tt.b); got != tt.want {
			t.Errorf("%s: %d ms, want %d", tt.name, got, tt.want)
		}
	}
}

func FuzzMillis(f *testing.F) {
	f.Add(WAV(1, 1, "x"))
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x00\x00\x00\x00data\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := Millis(b); n < 0 {
			t.Errorf("%d ms", n)
		}
	})
}

func TestMP3(t *testing.T) {
	b := MP3(240, "[mock tts-1]")
	size := int(b[6])<<21 | int(b[7])<<14 | int(b[8])<<7 | int(b[9])
	if string(b[:3]) != "ID3" || !strings.Contains(string(b[:10+size]), "[mock tts-1]") {
		t.Fatalf("tag %q", b[:10+size])
	}
	frames := 0
	for rest := b[10+size:]; len(rest) > 0; frames++ {
		h := binary.BigEndian.Uint32(rest)
		// Sync, MPEG-1, layer III, no CRC; 32 kbit/s at 48 kHz; mono.
		if h>>21 != 0x7ff || h>>19&3 != 3 || h>>17&3 != 1 || h>>16&1 != 1 || h>>12&15 != 1 || h>>10&3 != 1 || h>>6&3 != 3 {
			t.Fatalf("frame head %08x", h)
		}
		rest = rest[144*32000/48000:]
	}
	if frames != 10 {
		t.Errorf("%d frames, want 10 of 24 ms", frames)
	}
}

func TestAAC(t *testing.T) {
	b := AAC(640)
	frames := 0
	for rest := b; len(rest) > 0; frames++ {
		length := int(rest[3]&3)<<11 | int(rest[4])<<3 | int(rest[5])>>5
		rate, channels := rest[2]>>2&15, rest[2]&1<<2|rest[3]>>6
		if rest[0] != 0xff || rest[1] != 0xf1 || length != 11 || rate != 3 || channels != 1 {
			t.Fatalf("frame head % x", rest[:7])
		}
		rest = rest[length:]
	}
	if frames != 30 {
		t.Errorf("%d frames, want 30 of 21⅓ ms", frames)
	}
}

func TestOpus(t *testing.T) {
	b := Opus(9, 2000, "[mock tts-1]")
	var packets [][]byte
	pages, granule, flags := 0, uint64(0), byte(0)
	for rest := b; len(rest) > 0; pages++ {
		if string(rest[:5]) != "OggS\x00" || binary.LittleEndian.Uint32(rest[18:]) != uint32(pages) {
			t.Fatalf("page head % x", rest[:27])
		}
		flags, granule = rest[5], binary.LittleEndian.Uint64(rest[6:])
		segments := int(rest[26])
		at := 27 + segments
		for _, n := range rest[27 : 27+segments] {
			packets = append(packets, rest[at:at+int(n)])
			at += int(n)
		}
		page := bytes.Clone(rest[:at])
		copy(page[22:26], "\x00\x00\x00\x00")
		if got, want := binary.LittleEndian.Uint32(rest[22:]), slowCRC(page); got != want {
			t.Fatalf("page %d: checksum %08x, want %08x", pages, got, want)
		}
		rest = rest[at:]
	}
	if string(packets[0][:8]) != "OpusHead" || string(packets[1][:8]) != "OpusTags" || !strings.Contains(string(packets[1]), "COMMENT=[mock tts-1]") {
		t.Errorf("head packets %q, %q", packets[0], packets[1])
	}
	if len(packets) != 2+100 || granule != 96000 || flags != 4 || pages != 4 {
		t.Errorf("%d packets, %d samples, last flags %d, %d pages", len(packets), granule, flags, pages)
	}
}

// slowCRC is Ogg's checksum by way of the reflected CRC of the standard library: the same polynomial over mirrored bits, with
// the turns at begin and end taken back.
func slowCRC(b []byte) uint32 {
	mirrored := make([]byte, len(b))
	for i, c := range b {
		mirrored[i] = mirror8(c)
	}
	sum := ^crc32.Update(0xffffffff, crc32.IEEETable, mirrored)
	var out uint32
	for i := range 32 {
		out |= sum >> i & 1 << (31 - i)
	}
	return out
}

func mirror8(c byte) (out byte) {
	for i := range 8 {
		out |= c >> i & 1 << (7 - i)
	}
	return out
}

func TestFLAC(t *testing.T) {
	b := FLAC(1000, "[mock tts-1]")
	if string(b[:4]) != "fLaC" || b[4] != 0 || b[7] != 34 {
		t.Fatalf("head % x", b[:8])
	}
	info := binary.BigEndian.Uint64(b[18:])
	if rate, samples := info>>44, info&(1<<36-1); rate != SampleRate || info>>41&7 != 0 || info>>36&31 != 15 || samples != 6*4096 {
		t.Errorf("stream info %016x: rate %d, %d samples", info, rate, samples)
	}
	at := 8 + 34
	if b[at] != 0x84 {
		t.Fatalf("block type %02x", b[at])
	}
	size := int(b[at+1])<<16 | int(b[at+2])<<8 | int(b[at+3])
	if !strings.Contains(string(b[at:at+4+size]), "COMMENT=[mock tts-1]") {
		t.Error("no label")
	}
	frames := 0
	for rest := b[at+4+size:]; len(rest) > 0; frames++ {
		if !bytes.Equal(rest[:5], []byte{0xff, 0xf8, 0xc7, 0x08, byte(frames)}) || !bytes.Equal(rest[6:9], []byte{0, 0, 0}) {
			t.Fatalf("frame % x", rest[:11])
		}
		// A message followed by its own checksum has the checksum zero.
		if crcMSB(rest[:6], 0x07, 8) != 0 || crcMSB(rest[:11], 0x8005, 16) != 0 {
			t.Fatalf("checksums of % x", rest[:11])
		}
		rest = rest[11:]
	}
	if frames != 6 {
		t.Errorf("%d frames, want 6", frames)
	}
}

// TestCRC checks against the published check values of CRC-8/SMBUS, CRC-16/UMTS and the Ogg polynomial over "123456789".
func TestCRC(t *testing.T) {
	for _, tt := range []struct {
		poly, want uint32
		bits       uint
	}{{0x07, 0xf4, 8}, {0x8005, 0xfee8, 16}, {0x04c11db7, 0x89a1897f, 32}} {
		if got := crcMSB([]byte("123456789"), tt.poly, tt.bits); got != tt.want {
			t.Errorf("CRC of %d bits = %x, want %x", tt.bits, got, tt.want)
		}
	}
}

func TestPicture(t *testing.T) {
	for _, format := range []Format{PNG, JPEG} {
		a, err := Picture(format, 0x123456789abcdef, "[mock x]")
		if err != nil {
			t.Fatal(err)
		}
		m, name, err := image.Decode(bytes.NewReader(a))
		if err != nil || name != string(format) || m.Bounds() != image.Rect(0, 0, 64, 64) {
			t.Errorf("%s: decodes as %s, %v (%v)", format, name, m, err)
		}
		if !bytes.Contains(a, []byte("[mock x]")) {
			t.Errorf("%s: no label", format)
		}
		again, _ := Picture(format, 0x123456789abcdef, "[mock x]")
		other, _ := Picture(format, 0x123456789abcdee, "[mock x]")
		if !bytes.Equal(a, again) || bytes.Equal(a, other) {
			t.Errorf("%s: the picture does not follow from the seed", format)
		}
	}
}
