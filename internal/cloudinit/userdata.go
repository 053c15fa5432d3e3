package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// Limits of user-data with several parts.
const (
	maxParts     = 100
	maxPartDepth = 5
	mimeMark     = 4 << 10 // bytes, of which one part has "mime-version:" (convert_string in cloudinit/user_data.py)
)

// part is user-data, or one of its parts, as it is after unpacking.
type part struct {
	typ  string // its media type, "" if none is given
	text []byte
}

// parts unpacks user-data as cloud-init does (user_data.py): it may be compressed,
// and so may its parts be, which may have parts. What cannot be unpacked, and what
// exceeds maxUserConfig in all, is left out.
func parts(data []byte) []part {
	u := unpacker{left: maxUserConfig}
	data = u.gunzip(data)
	head := bytes.ToLower(data[:min(len(data), mimeMark)])
	message, err := mail.ReadMessage(bytes.NewReader(data))
	if !bytes.Contains(head, []byte("mime-version:")) || err != nil {
		return []part{{"", data}}
	}
	u.unpack(message.Header.Get, message.Body, maxPartDepth)
	return u.parts
}

type unpacker struct {
	parts []part
	left  int64 // bytes
}

// unpack takes a part with its header, and those in it.
func (u *unpacker) unpack(header func(string) string, body io.Reader, depth int) {
	typ, params, err := mime.ParseMediaType(header("Content-Type"))
	if err == nil && strings.HasPrefix(typ, "multipart/") {
		for r := multipart.NewReader(body, params["boundary"]); depth > 0; {
			next, err := r.NextRawPart()
			if err != nil || len(u.parts) >= maxParts {
				return
			}
			u.unpack(next.Header.Get, next, depth-1)
		}
		return
	}
	switch strings.ToLower(strings.TrimSpace(header("Content-Transfer-Encoding"))) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	data, err := u.read(body)
	if err != nil {
		return
	}
	if plain := u.gunzip(data); len(plain) != len(data) {
		typ, data = "", plain
	}
	u.parts = append(u.parts, part{typ, data})
}

// gunzip gives what is compressed in data, or data if nothing is.
func (u *unpacker) gunzip(data []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data
	}
	plain, err := u.read(r)
	if err != nil {
		return nil
	}
	return plain
}

func (u *unpacker) read(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, u.left+1))
	if u.left -= int64(len(data)); u.left < 0 {
		u.left = 0
		return nil, io.ErrShortBuffer
	}
	return data, err
}
