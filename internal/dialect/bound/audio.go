package bound

import "encoding/binary"

// The bytes that a second of audio takes at least, by format. Only of WAV and MP3 it is a law: the sample rate of one is in its header,
// the other has no bitrate below 8 kbit/s. What the others make of speech is well above theirs, what they make of silence may be
// below it: docs/bounds.md says so.
const (
	wavSecond   = 8_000
	mp3Second   = 1_000
	otherSecond = 250
)

// Duration returns how long an audio file of a size may be, in milliseconds. head are its first bytes, 36 or more where it has them.
func Duration(size int64, head []byte) int64 {
	second := int64(otherSecond)
	switch {
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WAVE":
		second = wavRate(head)
	case len(head) >= 3 && (string(head[:3]) == "ID3" || head[0] == 0xff && head[1]&0xe6 == 0xe2):
		second = mp3Second
	}
	return min(size, most)*1000/second + 1000
}

// wavRate returns the bytes of a second of PCM, as the header says that stands first in every file that tools write.
func wavRate(head []byte) int64 {
	const pcm = 1
	if len(head) < 36 || string(head[12:16]) != "fmt " || binary.LittleEndian.Uint16(head[20:]) != pcm {
		return mp3Second // compressed, or its format comes later
	}
	rate, block := int64(binary.LittleEndian.Uint32(head[24:])), int64(binary.LittleEndian.Uint16(head[32:]))
	if rate*block < wavSecond {
		return otherSecond // nobody records so; it may say anything
	}
	return rate * block
}
