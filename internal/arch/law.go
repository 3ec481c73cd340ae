package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// flow ranks the modules data runs through, ingest first. A module may import only from those before it.
func flow(module string) (int, bool) {
	i := slices.Index([]string{"ingest", "features", "training", "serving"}, module)
	return i, i >= 0
}

// isLeaf says that dir imports no module and may be imported by any.
func isLeaf(dir string) bool {
	return within(dir, "ann") || within(dir, "eval/metric") || within(dir, "internal")
}

// readers are the packages besides v1 through which a module may be imported.
func readers() []string {
	return []string{"ingest/watchevent", "features/online", "features/snapshot", "training/model", "catalog/changes"}
}

func within(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}

func module(dir string) string {
	m, _, _ := strings.Cut(dir, "/")
	return m
}

func isContract(dir string) bool {
	parts := strings.Split(dir, "/")
	return len(parts) >= 2 && parts[1] == "v1"
}

// importLaw says why from may not import target, or nothing when it may.
func importLaw(from, target string) string {
	a, b := module(from), module(target)
	switch {
	case a == b || a == "cmd" || isLeaf(target) && !isLeaf(from):
		return ""
	case isLeaf(from) && !isLeaf(target):
		return fmt.Sprintf("%s is a leaf and imports no module", from)
	case isLeaf(from):
		return ""
	case b == "cmd":
		return "nobody imports a command"
	case b == "eval":
		return "eval is imported by cmd only, eval/metric aside"
	case !isContract(target) && !slices.ContainsFunc(readers(), func(r string) bool { return within(target, r) }):
		return fmt.Sprintf("another module is reached through its v1 contract or one of %v", readers())
	}
	before, ok1 := flow(a)
	after, ok2 := flow(b)
	if ok1 && ok2 && after > before && !isContract(target) {
		return fmt.Sprintf("data flows from %s to %s, so imports go the other way", a, b)
	}
	return ""
}

// mutual lists pairs of sibling folders that import each other.
func mutual(packages []Package) []string {
	edges := map[[2]string]string{}
	for _, p := range packages {
		for _, target := range p.Imports {
			if a, b, ok := siblings(p.Dir, target); ok {
				edges[[2]string{a, b}] = p.Dir + " imports " + target
			}
		}
	}
	var out []string
	for _, e := range slices.SortedFunc(maps.Keys(edges), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }) {
		back, ok := edges[[2]string{e[1], e[0]}]
		if ok && e[0] < e[1] {
			out = append(out, fmt.Sprintf("%s and %s import each other: %s, %s", e[0], e[1], edges[e], back))
		}
	}
	return out
}

// siblings gives the two folders below a's and b's nearest common parent.
func siblings(a, b string) (string, string, bool) {
	pa, pb := strings.Split(a, "/"), strings.Split(b, "/")
	i := 0
	for i < len(pa) && i < len(pb) && pa[i] == pb[i] {
		i++
	}
	if i == len(pa) || i == len(pb) {
		return "", "", false
	}
	return strings.Join(pa[:i+1], "/"), strings.Join(pb[:i+1], "/"), true
}
