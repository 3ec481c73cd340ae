package logfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"marquee/eval/simulator"
)

// ReadWorld makes the world of a log again, from what world.json says it was made of.
func ReadWorld(dir string) (*simulator.World, error) {
	text, err := os.ReadFile(filepath.Join(dir, World))
	if err != nil {
		return nil, fmt.Errorf("read the world of the log in %s: %w", dir, err)
	}
	var s Summary
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("read the world of the log in %s: %s is not what simulate writes: %w", dir, World, err)
	}
	return simulator.New(s.Config)
}
