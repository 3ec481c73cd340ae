package consumer

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestTurnsBoundTheWork(t *testing.T) {
	turns := make(turns, 2)
	var mu sync.Mutex
	var now, most int
	entered, leave := make(chan struct{}, 8), make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := turns.take(t.Context(), func() error {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				entered <- struct{}{}
				<-leave
				mu.Lock()
				now--
				mu.Unlock()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	<-entered
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turns.take(ended, func() error { t.Error("worked out of turn"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that has ended: %v", err)
	}
	close(leave)
	wg.Wait()
	if most != 2 {
		t.Errorf("%d at a time", most)
	}
	wrong := errors.New("wrong")
	if err := turns.take(t.Context(), func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("the work's error is lost: %v", err)
	}
}
