package media

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strconv"
	"strings"
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
	front := color.RGBA{uint8(seed >> 32 & 0x7f), uint8(seed >> 40 & 0x7f), uint8(seed >> 48 & 0x7f), 255}
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

// imageTokens are OpenAI's published output tokens of gpt-image-1, by size and quality.
var imageTokens = map[string]map[string]int{
	"1024x1024": {"low": 272, "medium": 1056, "high": 4160},
	"1024x1536": {"low": 408, "medium": 1584, "high": 6240},
	"1536x1024": {"low": 400, "medium": 1568, "high": 6208},
}

// PictureTokens returns what a picture of size costs, 0 where the size or quality is not one. Sizes without a published figure
// cost their share of a square's.
func PictureTokens(size, quality string) int {
	if n := imageTokens[size][quality]; n > 0 {
		return n
	}
	left, right, _ := strings.Cut(size, "x")
	width, err := strconv.Atoi(left)
	height, err2 := strconv.Atoi(right)
	if err != nil || err2 != nil || width < 16 || height < 16 || width > 3840 || height > 3840 || width%16 != 0 || height%16 != 0 {
		return 0
	}
	return imageTokens["1024x1024"][quality] * width * height / (1024 * 1024)
}
