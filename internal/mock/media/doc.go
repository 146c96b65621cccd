// Package media makes the sound and the pictures of the mock upstream: small files that real decoders accept, which follow from
// a seed and carry a label in their metadata where the format keeps comments. Sound is a soft tone where samples stand in the
// file as they are (PCM, WAV) and silence where they are compressed. It owns these formats and knows nothing of HTTP or models.
package media
