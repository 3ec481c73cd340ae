package watchevent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// ID is an event id: a UUID in its 16-byte form.
type ID = [16]byte

const idLen = 36

// IsID reports whether s is a version-7 UUID in its 36-character lower-case form.
func IsID(s string) bool {
	_, ok := ParseID(s)
	return ok && s[14] == '7' && (s[19] == '8' || s[19] == '9' || s[19] == 'a' || s[19] == 'b')
}

// ParseID reads a UUID in its 36-character lower-case form, of any version.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != idLen || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, false
	}
	bad := byte(0)
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		hi, lo := hexDigits[s[at]], hexDigits[s[at+1]]
		bad |= hi | lo
		id[i] = hi<<4 | lo&0xf
	}
	return id, bad < 16
}

// hexDigits holds the value of each byte as a lower-case hexadecimal digit, 0xff for those that are none. A table has no
// branches, and every id is read several times on its way.
const (
	noDigits  = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
	hexDigits = noDigits + noDigits + noDigits +
		"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\xff\xff\xff\xff\xff\xff" + noDigits + noDigits +
		"\xff\x0a\x0b\x0c\x0d\x0e\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff" + noDigits +
		noDigits + noDigits + noDigits + noDigits + noDigits + noDigits + noDigits + noDigits
)

// FormatID writes an id in its 36-character lower-case form.
func FormatID(id ID) string {
	var b [idLen]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// DeriveID makes the version-7 UUID (RFC 9562) of an imported event: its 48 time bits are occurredAt (microseconds
// since the Unix epoch) in milliseconds, its 74 other bits a SHA-256 of the parts. The same parts always give the same
// id, so importing twice gives the same events.
func DeriveID(occurredAt int64, parts ...string) ID {
	var buf [256]byte
	b := buf[:0]
	for _, p := range parts {
		// Lengths keep ("a", "bc") apart from ("ab", "c").
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	var id ID
	copy(id[6:], sum[:10])
	ms := uint64(occurredAt) / 1000
	id[0], id[1], id[2] = byte(ms>>40), byte(ms>>32), byte(ms>>24)
	id[3], id[4], id[5] = byte(ms>>16), byte(ms>>8), byte(ms)
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return id
}
