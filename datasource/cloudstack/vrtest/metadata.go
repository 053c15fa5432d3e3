package vrtest

import (
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"
)

// answer is what the files and the rewrite rules on the VR's disk amount to.
func (s apache) answer(client netip.Addr, r *http.Request) answer {
	if r.ProtoAtLeast(1, 1) && r.Host == "" {
		return s.page(http.StatusBadRequest)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return s.methodNotAllowed(r.Method)
	}
	// AllowEncodedSlashes is off.
	if strings.Contains(strings.ToUpper(r.URL.EscapedPath()), "%2F") {
		return s.notFound()
	}
	switch p := cleanPath(r.URL.Path); p {
	case "/latest", "/metadata", "/userdata":
		location := "http://" + r.Host + p + "/"
		if r.URL.RawQuery != "" {
			location += "?" + r.URL.RawQuery
		}
		return s.moved(location)
	case "/", "/latest/", "/metadata/", "/userdata/":
		return s.forbidden()
	default:
		name, inLatest := strings.CutPrefix(p, "/latest/")
		vm := s.vr.vm(client)
		if !inLatest || vm == nil {
			return s.notFound()
		}
		return s.latest(vm, name, r)
	}
}

// latest follows /latest/.htaccess. Its rules ignore case (NC), but the file
// names that they lead to do not: META-DATA/vm-id and VM-ID are found,
// meta-data/VM-ID is not.
func (s apache) latest(vm *storedVM, name string, r *http.Request) answer {
	const dir = "meta-data/"
	if len(name) >= len(dir) && strings.EqualFold(name[:len(dir)], dir) {
		return s.metadata(vm, name[len(dir):], r)
	}
	if strings.EqualFold(name, "user-data") {
		return s.file(vm, vm.UserData, 0, r)
	}
	value, place, found := vm.key(func(key string) bool { return strings.EqualFold(key, name) })
	if !found {
		return s.notFound()
	}
	return s.file(vm, []byte(value), place, r)
}

func (s apache) metadata(vm *storedVM, name string, r *http.Request) answer {
	if strings.HasPrefix(name, ".ht") {
		return s.forbidden()
	}
	// The index is a file of this name beside the keys.
	if name == "" || name == "meta-data" {
		if index := vm.index(); index != "" {
			return s.file(vm, []byte(index), 0, r)
		}
		return s.notFound()
	}
	value, place, found := vm.key(func(key string) bool { return key == name })
	if !found {
		return s.notFound()
	}
	return s.file(vm, []byte(value), place, r)
}

// file serves one file. place sets apart the times, in microseconds, at which
// the VR wrote the files of a VM.
func (s apache) file(vm *storedVM, content []byte, place int, r *http.Request) answer {
	// No closing quote: so Apache tags a file that it reached with MultiViews,
	// with a second part for the directory in which it looked for variants.
	tag := fmt.Sprintf(`W/"%x-%x;%x`, len(content), vm.written.UnixMicro()+int64(place), vm.written.UnixMicro())
	a := answer{
		status: http.StatusOK,
		fields: []field{{"Last-Modified", httpDate(vm.written)}, {"ETag", tag}, {"Accept-Ranges", "bytes"}},
	}
	if r.Method != http.MethodPost && unchanged(r.Header, tag, vm.written) {
		a.status = http.StatusNotModified
		return a.withBody(nil)
	}
	return a.withBody(content)
}

func unchanged(header http.Header, tag string, written time.Time) bool {
	if match := header.Get("If-None-Match"); match != "" {
		return match == tag || match == "*"
	}
	since, err := http.ParseTime(header.Get("If-Modified-Since"))
	return err == nil && !written.Truncate(time.Second).After(since)
}

// cleanPath merges slashes and resolves dots as Apache does, and keeps the
// slash at the end, which makes a difference.
func cleanPath(p string) string {
	clean := path.Clean("/" + p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return clean
}
