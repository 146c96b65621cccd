package media

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
)

// Format is a format of pictures, named as output_format names it.
type Format string

// The formats the mock draws.
const (
	PNG  Format = "png"
	JPEG Format = "jpeg"
)

// Picture returns a PNG, or where jpeg is asked for a JPEG, of 64 by 64 pixels: a pattern of 8 by 8 fields that is its own
// mirror image, as the bits of seed want it, with the label in its metadata.
func Picture(format Format, seed uint64, label string) ([]byte, error) {
	back := color.RGBA{240, 240, 240, 255}
	front := color.RGBA{uint8(seed >> 8 & 0x7f), uint8(seed >> 16 & 0x7f), uint8(seed >> 24 & 0x7f), 255}
	m := image.NewPaletted(image.Rect(0, 0, 64, 64), color.Palette{back, front})
	for y := range 64 {
		for x := range 64 {
			column := min(x/8, 7-x/8)
			m.SetColorIndex(x, y, uint8(seed>>(y/8*4+column)&1))
		}
	}
	var out bytes.Buffer
	if format == JPEG {
		if err := jpeg.Encode(&out, m, nil); err != nil {
			return nil, err
		}
		return comment(out.Bytes(), label), nil
	}
	if err := png.Encode(&out, m); err != nil {
		return nil, err
	}
	return pngText(out.Bytes(), label), nil
}

// pngText inserts a tEXt chunk after IHDR, which ends 33 bytes into every PNG.
func pngText(b []byte, text string) []byte {
	chunk := append([]byte("tEXtComment\x00"), text...)
	out := append([]byte(nil), b[:33]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(chunk)-4))
	out = append(out, chunk...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	return append(out, b[33:]...)
}

// comment inserts a COM segment after a JPEG's start mark.
func comment(b []byte, text string) []byte {
	out := append([]byte(nil), b[:2]...)
	out = append(out, 0xff, 0xfe)
	out = binary.BigEndian.AppendUint16(out, uint16(len(text)+2))
	out = append(out, text...)
	return append(out, b[2:]...)
}
