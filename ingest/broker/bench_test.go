package broker

import (
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkProduceSynced measures acknowledged records of 200 bytes, from as many writers as wait at once.
func BenchmarkProduceSynced(b *testing.B) {
	for _, waiting := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			broker := openURL(b, "embedded:", b.TempDir())
			if err := broker.EnsureTopics(b.Context(), TopicSpec{Name: "bench", Partitions: 4}); err != nil {
				b.Fatal(err)
			}
			client, err := broker.NewClient(kgo.DefaultProduceTopic("bench"))
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			value := make([]byte, 200)
			slots := make(chan struct{}, waiting)
			var done sync.WaitGroup
			b.SetBytes(int64(len(value)))
			b.ResetTimer()
			for i := range b.N {
				slots <- struct{}{}
				done.Add(1)
				client.Produce(b.Context(), &kgo.Record{Key: fmt.Appendf(nil, "%d", i), Value: value}, func(_ *kgo.Record, err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
					done.Done()
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
