package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file knows the layout of kfake's files. A pinned version of kfake writes them, and the tests hold the two together.

func partitionDir(dir, topic string, partition int32) string {
	return filepath.Join(dir, "partitions", fmt.Sprintf("%s-%d", url.PathEscape(topic), partition))
}

// writePlaceholder puts an empty batch, as compaction leaves one in Kafka, at the last lost offset of a partition, in a
// segment of its own after all others: the partition goes on behind it.
func writePlaceholder(dir string, loss Loss) error {
	pdir := partitionDir(dir, loss.Topic, loss.Partition)
	if err := os.MkdirAll(pdir, 0o755); err != nil {
		return err
	}
	// The snapshot describes the segments as they were.
	if err := os.Remove(filepath.Join(pdir, "snapshot.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	base := filepath.Join(pdir, fmt.Sprint(loss.Want-1))
	err := errors.Join(
		writeSynced(base+".dat", emptyBatch(loss.Want-1)),
		writeSynced(base+".idx", indexEntry()))
	return errors.Join(err, syncDir(pdir))
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func emptyBatch(offset int64) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: offset, Magic: 2, FirstTimestamp: -1, MaxTimestamp: -1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	const beforeLength, beforeCRC = 12, 21
	b.Length = int32(len(b.AppendTo(nil)) - beforeLength)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[beforeCRC:], castagnoli()))
	return b.AppendTo(nil)
}

// indexEntry is a segment index's entry for a batch of epoch 0 outside any transaction: a version, a check sum, epoch,
// earlier timestamp, transaction.
func indexEntry() []byte {
	entry := make([]byte, 15)
	entry[0] = 1
	entry[1] = byte(crc32.Checksum(entry[2:], castagnoli()))
	return entry
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// repairLogs cuts a torn last entry off the logs of groups and producers. kfake passes over it when it reads, but writes on
// behind it, and at the next start would not find what it wrote.
func repairLogs(dir string, log *slog.Logger) error {
	for _, name := range []string{"groups.log", "pids.log"} {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		valid := validEntries(raw)
		if valid == len(raw) {
			continue
		}
		log.Warn("cutting a torn end off a log of the embedded broker", "file", path, "bytes", len(raw)-valid)
		if err := os.Truncate(path, int64(valid)); err != nil {
			return err
		}
	}
	return nil
}

// validEntries is the length of the whole entries raw begins with: a length (4 bytes, little-endian, of what follows the
// check sum), a CRC-32C of that (4 bytes), and that: a version (2 bytes) and data.
func validEntries(raw []byte) int {
	const header, version = 8, 2
	pos := 0
	for pos+header+version <= len(raw) {
		length := int64(binary.LittleEndian.Uint32(raw[pos:]))
		if length < version || length > int64(len(raw)-pos-header) {
			break
		}
		data := raw[pos+header : pos+header+int(length)]
		if crc32.Checksum(data, castagnoli()) != binary.LittleEndian.Uint32(raw[pos+4:]) {
			break
		}
		pos += header + int(length)
	}
	return pos
}
