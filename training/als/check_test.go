package als

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestCheckSeesTheModelAndEndsTraining(t *testing.T) {
	m := matrix(t, [][]uint32{{0, 1}, {1, 2}, {0, 2}, {3}}, 4)
	cfg := DefaultConfig()
	cfg.Dim, cfg.Epochs = 3, 3
	want, err := Train(context.Background(), m, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Epochs = 50
	var seen []float32
	got, err := Train(context.Background(), m, cfg, Options{Check: func(epoch int, model func() (*Model, error)) (bool, error) {
		x, err := model()
		if err == nil {
			seen = slices.Clone(x.Items)
		}
		return epoch < 3, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Items, want.Items) || !slices.Equal(got.Users, want.Users) || !slices.Equal(seen, want.Items) {
		t.Error("stopped after three epochs, the model is another than after three epochs")
	}
	broken := errors.New("broken")
	if _, err := Train(context.Background(), m, cfg, Options{Check: func(int, func() (*Model, error)) (bool, error) { return true, broken }}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
