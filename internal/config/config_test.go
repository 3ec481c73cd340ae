package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type broker struct {
	URL        string        `koanf:"url"`
	Partitions int           `koanf:"partitions"`
	Linger     time.Duration `koanf:"linger"`
}

type settings struct {
	DataDir string   `koanf:"data_dir"`
	Modules []string `koanf:"modules"`
	Broker  broker   `koanf:"broker"`
}

func defaults() settings {
	return settings{DataDir: "data", Modules: []string{"all"}, Broker: broker{URL: "embedded:", Partitions: 8, Linger: time.Millisecond}}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLaterSourceWins(t *testing.T) {
	file := write(t, "data_dir: from-file\nbroker:\n  url: kafka://file\n  partitions: 3\n  linger: 5ms\n")
	got, err := Load(defaults(), Source{
		File:      file,
		Environ:   []string{"MARQUEE_BROKER_URL=kafka://env", "MARQUEE_BROKER_PARTITIONS=4", "HOME=/x", "MARQUEE_MODULES=ingest,recommend"},
		Overrides: map[string]string{"broker.partitions": "5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.DataDir != "from-file" || got.Broker != (broker{URL: "kafka://env", Partitions: 5, Linger: 5 * time.Millisecond}) {
		t.Errorf("got %+v", got)
	}
	if len(got.Modules) != 2 || got.Modules[1] != "recommend" {
		t.Errorf("modules %q", got.Modules)
	}
}

func TestDefaultsStandAlone(t *testing.T) {
	for _, file := range []string{"", write(t, ""), write(t, "# nothing\nbroker:\n")} {
		got, err := Load(defaults(), Source{File: file})
		if err != nil {
			t.Fatal(err)
		}
		if got.Broker != defaults().Broker {
			t.Errorf("got %+v", got)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		src  Source
		want []string
	}{
		"typo in file":        {Source{File: write(t, "broker:\n  ulr: x\n")}, []string{":2:", "broker.ulr", "did you mean broker.url?"}},
		"typo in environment": {Source{Environ: []string{"MARQUEE_BROKER_ULR=x"}}, []string{"MARQUEE_BROKER_ULR", "MARQUEE_BROKER_URL?"}},
		"typo in flag":        {Source{Overrides: map[string]string{"datadir": "x"}}, []string{"datadir", "data_dir?"}},
		"nothing near":        {Source{File: write(t, "zzzzzzzzzz: 1\n")}, []string{"zzzzzzzzzz", "config.example.yaml"}},
		"wrong type":          {Source{File: write(t, "broker:\n  partitions: many\n")}, []string{"broker.partitions", "int"}},
		"wrong duration":      {Source{File: write(t, "broker:\n  linger: soon\n")}, []string{"broker.linger", "duration"}},
		"value for section":   {Source{File: write(t, "broker: 3\n")}, []string{"broker", "section"}},
		"not YAML":            {Source{File: write(t, "a: [1")}, []string{"not YAML"}},
		"no such file":        {Source{File: "nowhere.yaml"}, []string{"nowhere.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(defaults(), c.src)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestReservedVariablesAreNotSettings(t *testing.T) {
	_, err := Load(defaults(), Source{Environ: []string{"MARQUEE_NATIVE_DIR=x", "MARQUEE_TEST_A=1"}, Reserved: []string{"MARQUEE_NATIVE_DIR", "MARQUEE_TEST_*"}})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzLoadFile(f *testing.F) {
	f.Add([]byte("broker:\n  url: x\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {}\n: x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		// Any text is either settings or an error, never a panic.
		if _, err := Load(defaults(), Source{File: path}); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
