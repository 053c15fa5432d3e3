package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// gap is what varies in a message.
const gap = "…"

// TestMessagesQuoted: what docs/troubleshooting.md quotes as the program's words
// are the program's words, still. A quoted message may be put together of several
// texts in the source, where it has a colon or a gap.
func TestMessagesQuoted(t *testing.T) {
	_, ours, found := strings.Cut(file(t, "docs/troubleshooting.md"), "<!-- messages of ours -->")
	ours, _, ended := strings.Cut(ours, "<!-- end of messages of ours -->")
	if !found || !ended {
		t.Fatal("the messages are not marked")
	}
	texts := sourceTexts(t)
	quoted := 0
	for line := range strings.Lines(ours) {
		cell, isRow := strings.CutPrefix(line, "| ")
		if !isRow {
			continue
		}
		cell, _, _ = strings.Cut(cell, " | ")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			quoted++
			if part, ok := said(texts, m[1]); !ok {
				t.Errorf("got no text of the source with %q, want one, as %q is quoted", part, m[1])
			}
		}
	}
	if quoted < 100 {
		t.Errorf("got %d messages, want 100 or more", quoted)
	}
}

// said says whether a message is made of texts, and names the part that is not.
func said(texts []string, message string) (part string, ok bool) {
	if in(texts, message) {
		return "", true
	}
	for _, part := range strings.Split(message, gap) {
		if part = strings.Trim(part, " ,:;"); in(texts, part) {
			continue
		}
		for _, smaller := range regexp.MustCompile("[:;] ").Split(part, -1) {
			if !in(texts, smaller) {
				return smaller, false
			}
		}
	}
	return "", true
}

func in(texts []string, part string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, part) })
}

// sourceTexts are all texts in the program's source, with a gap for each verb of
// fmt, and those in a sum as one.
func sourceTexts(t *testing.T) []string {
	t.Helper()
	verb := regexp.MustCompile(`%[-+# 0-9.\[\]*]*[a-zA-Z]`)
	var texts []string
	for _, dir := range []string{"cmd", "datasource", "internal", "nm", "systemd"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.Name() == "vrtest" || e.Name() == "nmtest":
				return fs.SkipDir
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				expr, _ := n.(ast.Expr)
				text := textOf(expr)
				if text != "" {
					texts = append(texts, strings.ReplaceAll(verb.ReplaceAllString(text, gap), "%%", "%"))
				}
				return text == "" // what is in a sum has been taken
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

// textOf is a text, or a sum of texts and whatever, for which there is a gap.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return text
		}
	case *ast.ParenExpr:
		return textOf(e.X)
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return ""
		}
		x, y := textOf(e.X), textOf(e.Y)
		if x == "" && y == "" {
			return ""
		}
		if x == "" {
			x = gap
		}
		if y == "" {
			y = gap
		}
		return x + y
	}
	return ""
}
