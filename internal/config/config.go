// Package config fills a configuration struct from defaults, a YAML file, the environment and flags, in that order: the
// later wins. A setting nobody knows is an error, never ignored: it is a typo or from another version.
package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins every environment variable that is a setting: MARQUEE_BROKER_URL is broker.url.
const EnvPrefix = "MARQUEE_"

// Source is where settings come from besides the defaults.
type Source struct {
	// File is a YAML file's path; empty for none.
	File string
	// Environ is the environment as os.Environ gives it; variables without EnvPrefix are not looked at.
	Environ []string
	// Reserved names variables with EnvPrefix that are not settings; one that ends in * is a prefix.
	Reserved []string
	// Overrides are settings by their dotted key, as flags give them.
	Overrides map[string]string
}

// Load fills a copy of defaults. T is a struct whose fields carry koanf tags; a nested struct is a section.
func Load[T any](defaults T, src Source) (T, error) {
	var zero T
	k := koanf.New(".")
	if err := k.Load(structs.Provider(defaults, "koanf"), nil); err != nil {
		return zero, fmt.Errorf("read the default settings: %w", err)
	}
	valid := k.Keys()
	if src.File != "" {
		settings, err := readFile(src.File, valid)
		if err != nil {
			return zero, err
		}
		if err := k.Load(confmap.Provider(settings, "."), nil); err != nil {
			return zero, fmt.Errorf("merge %s: %w", src.File, err)
		}
	}
	env, err := fromEnviron(src.Environ, src.Reserved, valid)
	if err != nil {
		return zero, err
	}
	if err := k.Load(confmap.Provider(env, "."), nil); err != nil {
		return zero, fmt.Errorf("merge the environment: %w", err)
	}
	flags := make(map[string]any, len(src.Overrides))
	for key, value := range src.Overrides {
		if !slices.Contains(valid, key) {
			return zero, unknown("flag", key, valid)
		}
		flags[key] = value
	}
	if err := k.Load(confmap.Provider(flags, "."), nil); err != nil {
		return zero, fmt.Errorf("merge the flags: %w", err)
	}
	return decode[T](k)
}

func decode[T any](k *koanf.Koanf) (T, error) {
	var out T
	err := k.UnmarshalWithConf("", &out, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		Result:           &out,
		TagName:          "koanf",
		ErrorUnused:      true,
		WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		return out, fmt.Errorf("settings of the wrong type (durations are written 1m30s, lists a,b): %w", err)
	}
	return out, nil
}

func readFile(path string, valid []string) (map[string]any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	settings := map[string]any{}
	if len(doc.Content) == 0 {
		return settings, nil
	}
	var errs []error
	flatten(doc.Content[0], "", path, valid, settings, &errs)
	return settings, errors.Join(errs...)
}

// flatten walks the YAML tree rather than decoding it into a map, since only the tree knows the line of a typo.
func flatten(n *yaml.Node, prefix, path string, valid []string, out map[string]any, errs *[]error) {
	if n.Kind != yaml.MappingNode {
		*errs = append(*errs, fmt.Errorf("%s:%d: %s must be a section of settings", path, n.Line, section(prefix)))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		key := strings.TrimPrefix(prefix+"."+name.Value, ".")
		switch {
		case slices.Contains(valid, key):
			var v any
			if err := value.Decode(&v); err != nil {
				*errs = append(*errs, fmt.Errorf("%s:%d: %s: %w", path, value.Line, key, err))
				continue
			}
			out[key] = v
		case slices.ContainsFunc(valid, func(v string) bool { return strings.HasPrefix(v, key+".") }):
			// An empty section is one whose settings are all commented out.
			if value.Tag != "!!null" {
				flatten(value, key, path, valid, out, errs)
			}
		default:
			*errs = append(*errs, unknown(fmt.Sprintf("%s:%d", path, name.Line), key, valid))
		}
	}
}

func section(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return prefix
}

func fromEnviron(environ, reserved, valid []string) (map[string]any, error) {
	byName := make(map[string]string, len(valid))
	names := make([]string, 0, len(valid))
	for _, key := range valid {
		name := EnvName(key)
		byName[name] = key
		names = append(names, name)
	}
	out := map[string]any{}
	var errs []error
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix) || isReserved(name, reserved) {
			continue
		}
		key, ok := byName[name]
		if !ok {
			errs = append(errs, unknown("environment", name, names))
			continue
		}
		out[key] = value
	}
	return out, errors.Join(errs...)
}

// EnvName is the environment variable that sets key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func isReserved(name string, reserved []string) bool {
	return slices.ContainsFunc(reserved, func(r string) bool {
		if p, ok := strings.CutSuffix(r, "*"); ok {
			return strings.HasPrefix(name, p)
		}
		return name == r
	})
}

func unknown(where, key string, valid []string) error {
	best, least := "", len(key)/2+1
	for _, v := range valid {
		if d := distance(key, v); d < least {
			best, least = v, d
		}
	}
	if best == "" {
		return fmt.Errorf("%s: %s is not a setting; config.example.yaml lists them all", where, key)
	}
	return fmt.Errorf("%s: %s is not a setting; did you mean %s?", where, key, best)
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
