package mapping

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed presets/*.yaml
var presets embed.FS

// PresetNames are the mappings that come with the program, in order.
func PresetNames() ([]string, error) {
	entries, err := presets.ReadDir("presets")
	if err != nil {
		return nil, fmt.Errorf("list the presets: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names, nil
}

// PresetText is a preset as it is written down: a start for one's own.
func PresetText(name string) ([]byte, error) {
	names, err := PresetNames()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("there is no preset %q%s; there are %s", name, didYouMean(name, names), strings.Join(names, ", "))
	}
	text, err := presets.ReadFile("presets/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("read the preset %s: %w", name, err)
	}
	return text, nil
}

// Preset is a preset of a kind.
func Preset(name, kind string) (Mapping, error) {
	text, err := PresetText(name)
	if err != nil {
		return Mapping{}, err
	}
	m, err := Parse(text)
	if err != nil {
		return Mapping{}, fmt.Errorf("preset %s: %w", name, err)
	}
	if m.Kind != kind {
		return Mapping{}, fmt.Errorf("the preset %s is for %s: marquee import %s --preset %s", name, m.Kind, m.Kind, name)
	}
	return m, nil
}
