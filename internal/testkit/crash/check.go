package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// settleTimeout is how long everything acknowledged may take to get into both sinks after the last recovery.
const settleTimeout = 60 * time.Second

// counts is what `marquee events count --digest --json` prints.
type counts struct {
	Warehouse        int64  `json:"warehouse"`
	Lake             int64  `json:"lake"`
	LakeRows         int64  `json:"lake_rows"`
	WarehouseIDs     string `json:"warehouse_ids"`
	LakeIDs          string `json:"lake_ids"`
	WarehouseContent string `json:"warehouse_content"`
	LakeContent      string `json:"lake_content"`
}

// count asks the command line what is stored, once everything on the broker is in both sinks.
func count(ctx context.Context, binary string, args []string) (counts, error) {
	var out counts
	all := append([]string{"events", "count", "--wait", settleTimeout.String(), "--digest", "--json"}, args...)
	cmd := exec.CommandContext(ctx, binary, all...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("count what is stored: %w\n%s", err, stderr.Bytes())
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("read what is stored: %w\n%s", err, text)
	}
	return out, nil
}

// compare says how what is stored differs from what was acknowledged, or nothing.
func compare(s *sent, stored counts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, end := range []struct {
		name  string
		count int64
		ids   string
	}{{"warehouse", stored.Warehouse, stored.WarehouseIDs}, {"lake", stored.Lake, stored.LakeIDs}} {
		if end.count != s.acknowledged {
			errs = append(errs, fmt.Errorf("%d events acknowledged, the %s has %d", s.acknowledged, end.name, end.count))
		} else if end.ids != s.ids.String() {
			errs = append(errs, fmt.Errorf("%d events acknowledged, the %s has as many and not the same", s.acknowledged, end.name))
		}
	}
	if stored.WarehouseIDs == stored.LakeIDs && stored.WarehouseContent != stored.LakeContent {
		errs = append(errs, errors.New("warehouse and lake have the same events with different contents"))
	}
	return errors.Join(errs...)
}
