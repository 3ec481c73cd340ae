package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// measureEvery is how long a measurement of the log stands; what is taken meanwhile is added to it. The disk, which others
// fill as well, is asked every time.
const measureEvery = time.Second

// room decides whether the embedded broker may take more. It refuses before a disk is full to the last byte: kfake remembers a
// batch's sequence number before it writes the batch, so one it could not write would be taken for written when it is sent
// again. It belongs to the broker's one goroutine.
type room struct {
	dir string
	// limit bounds the log, in bytes, 0 for no bound; keep is what must stay free on the disk.
	limit, keep int64
	log         *slog.Logger

	measured time.Time
	size     int64
	full     bool
}

// admit is called with every produce request before it is obeyed. A full broker answers POLICY_VIOLATION, which clients do
// not repeat by themselves: whoever waits is told at once.
func (r *room) admit(request kmsg.Request) (kmsg.Response, error, bool) {
	produce, ok := request.(*kmsg.ProduceRequest)
	if !ok {
		return nil, nil, false
	}
	why := r.lacks(payload(produce))
	if why == "" {
		r.opened()
		return nil, nil, false
	}
	if !r.full {
		r.full = true
		r.log.Error("the embedded broker is full and takes nothing until retention or somebody makes room", "reason", why)
	}
	return refusal(produce), nil, true
}

func (r *room) opened() {
	if r.full {
		r.full = false
		r.log.Info("the embedded broker has room again")
	}
}

// lacks counts n bytes in and says why there is no room for them, or nothing.
func (r *room) lacks(n int64) string {
	var stat unix.Statfs_t
	if err := unix.Statfs(r.dir, &stat); err != nil {
		return fmt.Sprintf("asked how much of the disk is free: %v", err)
	}
	free := int64(stat.Bavail) * stat.Bsize
	if now := time.Now(); r.limit > 0 && now.Sub(r.measured) >= measureEvery {
		if err := r.measure(); err != nil {
			return err.Error()
		}
		r.measured = now
	}
	switch {
	case r.limit > 0 && r.size+n > r.limit:
		return fmt.Sprintf("its log has %d bytes of the %d that broker.max_bytes allows", r.size, r.limit)
	case free-n < r.keep:
		return fmt.Sprintf("the disk has %d bytes free, and broker.min_free_bytes keeps %d", free, r.keep)
	}
	r.size += n
	return ""
}

func (r *room) measure() error {
	r.size = 0
	err := filepath.WalkDir(filepath.Join(r.dir, "partitions"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreAbsent(err)
		}
		info, err := d.Info()
		if err == nil {
			r.size += info.Size()
		}
		return ignoreAbsent(err)
	})
	if err != nil {
		return fmt.Errorf("measure the log: %w", err)
	}
	return nil
}

// ignoreAbsent drops the error of a file that retention took meanwhile.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func payload(produce *kmsg.ProduceRequest) int64 {
	n := 0
	for i := range produce.Topics {
		for j := range produce.Topics[i].Partitions {
			n += len(produce.Topics[i].Partitions[j].Records)
		}
	}
	return int64(n)
}

// refusal answers each partition of a request that there is no room.
func refusal(produce *kmsg.ProduceRequest) kmsg.Response {
	response := produce.ResponseKind().(*kmsg.ProduceResponse)
	text := "the broker is full"
	for i := range produce.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = produce.Topics[i].Topic, produce.Topics[i].TopicID
		for j := range produce.Topics[i].Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = produce.Topics[i].Partitions[j].Partition, kerr.PolicyViolation.Code, &text
			topic.Partitions = append(topic.Partitions, p)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}
