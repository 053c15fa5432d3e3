package judge

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Difference is one thing that the crawl and the seed do not agree about.
type Difference struct {
	What string // a fact, or "metadata KEY"
	// Kind: "decoded" is a string with us, from which cloud-init's own decoder
	// makes exactly the crawl's value; "only crawl" and "only seed" are in one of
	// the two; "error" is one in either, or both; "value" is all else.
	Kind        string
	Crawl, Seed any
}

func (d Difference) String() string {
	return fmt.Sprintf("%s (%s): crawl %s, seed %s", d.What, d.Kind, short(d.Crawl), short(d.Seed))
}

func short(v any) string {
	text, _ := json.Marshal(v) // it came as JSON
	if len(text) > 120 {
		return fmt.Sprintf("%s… (%d bytes)", text[:120], len(text))
	}
	return string(text)
}

// Compare lists all differences, sorted by What.
func Compare(crawl, seed Answer) (all []Difference) {
	if crawl.Error != "" || seed.Error != "" { // the same one is no agreement
		all = append(all, Difference{"answer", "error", crawl.Error, seed.Error})
	}
	all = append(all, compare("", crawl.Facts, seed.Facts, nil)...)
	all = append(all, compare("metadata ", crawl.Metadata, seed.Metadata, seed.Decoded)...)
	slices.SortFunc(all, func(a, b Difference) int {
		if a.What < b.What {
			return -1
		}
		return 1
	})
	return all
}

// failed says whether the datasource could not answer.
func failed(v any) bool {
	m, _ := v.(map[string]any)
	_, failed := m["error"]
	return failed
}

func compare(prefix string, crawl, seed, decoded map[string]any) (all []Difference) {
	for _, key := range slices.Sorted(maps.Keys(crawl)) {
		value, found := seed[key]
		kind := "value"
		switch {
		case failed(crawl[key]) || failed(value):
			kind = "error"
		case !found:
			kind = "only crawl"
		case reflect.DeepEqual(crawl[key], value):
			continue
		case reflect.DeepEqual(crawl[key], decoded[key]):
			kind = "decoded"
		}
		all = append(all, Difference{prefix + key, kind, crawl[key], value})
	}
	for _, key := range slices.Sorted(maps.Keys(seed)) {
		if _, found := crawl[key]; !found {
			all = append(all, Difference{prefix + key, "only seed", nil, seed[key]})
		}
	}
	return all
}
