package media

import (
	"encoding/binary"
)

// SampleRate is that of OpenAI's pcm and wav, 16-bit mono.
const SampleRate = 24_000

// PCM appends ms milliseconds of a triangle wave whose pitch follows from seed.
func PCM(b []byte, seed uint64, ms int) []byte {
	period := 60 + int(seed%60) // samples: 200 to 400 Hz
	for i := range ms * SampleRate / 1000 {
		level := i % period * 4000 / period // 0 to 4000
		if level >= 2000 {
			level = 4000 - level
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(level*2-2000)))
	}
	return b
}

// WAV returns a RIFF file of pcm with a comment.
func WAV(seed uint64, ms int, label string) []byte {
	samples := PCM(nil, seed, ms)
	if len(label)%2 == 0 {
		label += "\x00"
	}
	label += "\x00" // texts end with a zero, chunks at even places
	info := append([]byte("INFOICMT"), binary.LittleEndian.AppendUint32(nil, uint32(len(label)))...)
	info = append(info, label...)
	b := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt "), 16, 0, 0, 0, 1, 0, 1, 0)
	b = binary.LittleEndian.AppendUint32(b, SampleRate)
	b = binary.LittleEndian.AppendUint32(b, SampleRate*2)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "LIST"...)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(info))), info...)
	b = append(b, "data"...)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(samples))), samples...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

// MP3 returns an ID3v2.3 comment and frames of MPEG-1 layer III at 32 kbit/s, 48 kHz, mono: 96 bytes and 24 ms each. Side
// information of zeros says that a frame holds no data, which decodes to silence.
func MP3(ms int, label string) []byte {
	comment := append([]byte("\x00eng\x00"), label...) // Latin-1, English, no short description
	frame := append([]byte("COMM"), binary.BigEndian.AppendUint32(nil, uint32(len(comment)))...)
	frame = append(append(frame, 0, 0), comment...)
	n := len(frame)
	b := append([]byte("ID3\x03\x00\x00"), byte(n>>21&0x7f), byte(n>>14&0x7f), byte(n>>7&0x7f), byte(n&0x7f))
	b = append(b, frame...)
	for range (ms + 23) / 24 {
		b = append(b, 0xff, 0xfb, 0x14, 0xc0)
		b = append(b, make([]byte, 92)...)
	}
	return b
}

// AAC returns ADTS frames of AAC-LC at 48 kHz, mono: 11 bytes and 21⅓ ms each. The frame's only element is a channel of which
// no band is coded. ADTS has no place for a comment.
func AAC(ms int) []byte {
	var b []byte
	for range (ms*3 + 63) / 64 {
		b = append(b, 0xff, 0xf1, 0x4c, 0x40, 0x01, 0x7f, 0xfc, 0x00, 0x00, 0x00, 0x07)
	}
	return b
}

// Opus returns an Ogg file of Opus packets of 20 ms, each one the three bytes in which CELT says silence.
func Opus(seed uint64, ms int, label string) []byte {
	const vendor = "gatehouse mock"
	serial := uint32(seed)
	head := append([]byte("OpusHead\x01\x01\x00\x00"), 0x80, 0xbb, 0, 0, 0, 0, 0) // mono, no pre-skip, from 48 kHz, no gain, family 0
	tags := append([]byte("OpusTags"), binary.LittleEndian.AppendUint32(nil, uint32(len(vendor)))...)
	tags = append(tags, vendor...)
	tags = append(tags, 1, 0, 0, 0)
	comment := "COMMENT=" + label
	tags = append(append(tags, binary.LittleEndian.AppendUint32(nil, uint32(len(comment)))...), comment...)
	b := oggPage(nil, 2, 0, serial, 0, [][]byte{head})
	b = oggPage(b, 0, 0, serial, 1, [][]byte{tags})
	silence := []byte{0xf8, 0xff, 0xfe}
	total := (ms + 19) / 20
	for page, done := uint32(2), 0; done < total; page++ {
		var packets [][]byte
		for len(packets) < 50 && done < total {
			packets = append(packets, silence)
			done++
		}
		flags := byte(0)
		if done == total {
			flags = 4
		}
		b = oggPage(b, flags, uint64(done*960), serial, page, packets)
	}
	return b
}

// oggPage appends a page of RFC 3533. Every packet is shorter than 255 bytes or the only one.
func oggPage(b []byte, flags byte, granule uint64, serial, sequence uint32, packets [][]byte) []byte {
	start := len(b)
	b = append(b, "OggS\x00"...)
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint64(b, granule)
	b = binary.LittleEndian.AppendUint32(b, serial)
	b = binary.LittleEndian.AppendUint32(b, sequence)
	b = append(b, 0, 0, 0, 0)
	var lacing []byte
	for _, p := range packets {
		n := len(p)
		for ; n >= 255; n -= 255 {
			lacing = append(lacing, 255)
		}
		lacing = append(lacing, byte(n))
	}
	b = append(append(b, byte(len(lacing))), lacing...)
	for _, p := range packets {
		b = append(b, p...)
	}
	binary.LittleEndian.PutUint32(b[start+22:], crcMSB(b[start:], 0x04c11db7, 32))
	return b
}

// FLAC returns a FLAC file of constant subframes: each frame of 4096 samples at 24 kHz says "all zero".
func FLAC(ms int, label string) []byte {
	const block = 4096
	samples := uint64(ms) * SampleRate / 1000
	frames := (samples + block - 1) / block
	samples = frames * block
	b := append([]byte("fLaC"), 0, 0, 0, 34)
	b = append(b, 0x10, 0x00, 0x10, 0x00, 0, 0, 0, 0, 0, 0) // blocks of 4096, sizes of frames unknown
	// 20 bits of rate, 3 of channels-1, 5 of bits-1, 36 of samples; an MD5 of zeros means unknown.
	b = binary.BigEndian.AppendUint64(b, uint64(SampleRate)<<44|0<<41|15<<36|samples)
	b = append(b, make([]byte, 16)...)
	const vendor = "gatehouse mock"
	comment := "COMMENT=" + label
	tags := append(binary.LittleEndian.AppendUint32(nil, uint32(len(vendor))), vendor...)
	tags = append(tags, 1, 0, 0, 0)
	tags = append(append(tags, binary.LittleEndian.AppendUint32(nil, uint32(len(comment)))...), comment...)
	b = append(b, 0x84, byte(len(tags)>>16), byte(len(tags)>>8), byte(len(tags)))
	b = append(b, tags...)
	for i := range frames {
		start := len(b)
		b = append(b, 0xff, 0xf8, 0xc7, 0x08) // fixed blocks; 4096 samples, 24 kHz; mono, 16 bits
		b = append(b, string(rune(i))...)     // FLAC numbers frames in the form of UTF-8
		b = append(b, byte(crcMSB(b[start:], 0x07, 8)))
		b = append(b, 0x00, 0x00, 0x00) // a constant subframe, and its value
		b = binary.BigEndian.AppendUint16(b, uint16(crcMSB(b[start:], 0x8005, 16)))
	}
	return b
}

// crcMSB is a CRC of bits wide, most significant bit first, from zero and without a final turn, as Ogg and FLAC use it;
// hash/crc32 knows the reflected ones only.
func crcMSB(b []byte, poly uint32, bits uint) uint32 {
	var r uint32
	top := uint32(1) << (bits - 1)
	for _, c := range b {
		r ^= uint32(c) << (bits - 8)
		for range 8 {
			if r&top != 0 {
				r = r<<1 ^ poly
			} else {
				r <<= 1
			}
		}
	}
	return r & (top<<1 - 1)
}

// Millis is how long an audio file plays: exact for WAV, else at 128 kbit/s, the middle of what compressed speech takes.
func Millis(b []byte) int {
	if len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WAVE" {
		rate := 0
		for at := 12; at+8 <= len(b); {
			size := int(binary.LittleEndian.Uint32(b[at+4:]))
			body := b[at+8:]
			switch string(b[at : at+4]) {
			case "fmt ":
				if len(body) >= 12 {
					rate = int(binary.LittleEndian.Uint32(body[8:]))
				}
			case "data":
				if rate > 0 {
					return min(size, len(body)) * 1000 / rate
				}
			}
			if size > len(body) {
				break
			}
			at += 8 + size + size%2
		}
	}
	return len(b) / 16
}

// SoundTokens is what the mock counts for n bytes of PCM: ten tokens a second, at least one.
func SoundTokens(n int) int { return max(1, n*10/(2*SampleRate)) }
