// Package judge measures a model on a holdout: it ranks every title a judged user has not seen, or the candidates the protocol
// names, and takes the metrics of package metric from the lists.
//
// What would make a number meaningless is an error or a finding with a name: a split that leaks, a user judged twice, scores
// that are NaN or all alike, a model that has evidently seen the test.
package judge

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"marquee/internal/sparse"
)

// ErrSplit is wrapped by every error about a holdout that no number should be taken from.
var ErrSplit = errors.New("unusable split")

// ErrLeak is wrapped, besides ErrSplit, where a user has a title both in train and in test.
var ErrLeak = errors.New("the split leaks")

// ErrDuplicateUser is wrapped, besides ErrSplit, where a user would be judged twice.
var ErrDuplicateUser = errors.New("duplicate user")

// Holdout is a data set split into what a model may see and what it is judged by.
type Holdout struct {
	// Train is users x titles. What a user has in it is masked from the user's list.
	Train *sparse.CSR
	// Users are the rows of Train that are judged, ascending, each once.
	Users []uint32
	// Relevant are the held-out titles of Users[i]: ascending, at least one, none in the user's row of Train.
	Relevant [][]uint32
	// Candidates, where not nil, are the only titles ranked for Users[i], ascending and including all of Relevant[i]. Numbers taken from
	// sampled candidates do not compare with full rankings (Krichene and Rendle 2020), so it enters the fingerprint.
	Candidates [][]uint32
}

// Validate refuses a split that would make any number meaningless. Errors wrap ErrSplit, and ErrLeak or ErrDuplicateUser
// where it is that.
func (h *Holdout) Validate() error {
	if h.Train == nil || len(h.Users) == 0 {
		return fmt.Errorf("%w: it leaves nobody to judge by", ErrSplit)
	}
	if len(h.Users) != len(h.Relevant) {
		return fmt.Errorf("%w: %d users and %d lists of relevant titles", ErrSplit, len(h.Users), len(h.Relevant))
	}
	if h.Candidates != nil && len(h.Candidates) != len(h.Users) {
		return fmt.Errorf("%w: %d users and %d lists of candidates", ErrSplit, len(h.Users), len(h.Candidates))
	}
	for i, u := range h.Users {
		if int64(u) >= int64(h.Train.Rows) {
			return fmt.Errorf("%w: it judges user %d of %d", ErrSplit, u, h.Train.Rows)
		}
		if i > 0 && h.Users[i-1] == u {
			return fmt.Errorf("%w: %w: user %d is judged twice", ErrSplit, ErrDuplicateUser, u)
		}
		if i > 0 && h.Users[i-1] > u {
			return fmt.Errorf("%w: user %d comes after user %d, want ascending", ErrSplit, u, h.Users[i-1])
		}
		if err := h.validateLists(i, u); err != nil {
			return err
		}
	}
	return nil
}

func (h *Holdout) validateLists(i int, user uint32) error {
	if len(h.Relevant[i]) == 0 {
		return fmt.Errorf("%w: user %d is judged by no title: such a user scores 0 under every model", ErrSplit, user)
	}
	if err := ascending(h.Relevant[i], h.Train.Cols, "relevant titles", user); err != nil {
		return err
	}
	for _, t := range h.Relevant[i] {
		if h.Train.Has(int(user), t) {
			return fmt.Errorf("%w: %w: user %d has title %d in train and in test", ErrSplit, ErrLeak, user, t)
		}
	}
	if h.Candidates == nil {
		return nil
	}
	if err := ascending(h.Candidates[i], h.Train.Cols, "candidates", user); err != nil {
		return err
	}
	for _, t := range h.Relevant[i] {
		if !member(h.Candidates[i], t) {
			return fmt.Errorf("%w: relevant title %d of user %d is not among the candidates", ErrSplit, t, user)
		}
	}
	return nil
}

func ascending(list []uint32, titles int, what string, user uint32) error {
	for i, t := range list {
		if int64(t) >= int64(titles) {
			return fmt.Errorf("%w: title %d of %d among the %s of user %d", ErrSplit, t, titles, what, user)
		}
		if i > 0 && list[i-1] >= t {
			return fmt.Errorf("%w: the %s of user %d have %d after %d, want ascending and each once", ErrSplit, what, user, t, list[i-1])
		}
	}
	return nil
}

func member(sorted []uint32, v uint32) bool {
	lo, hi := 0, len(sorted)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if sorted[mid] < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(sorted) && sorted[lo] == v
}

// Hash names the split by its content: the SHA-256, in hexadecimal, of train, users, relevant titles and candidates. Two
// numbers compare only where their hashes are the same.
func (h *Holdout) Hash() string {
	d := sha256.New()
	w := hashWriter{Hash: d}
	w.number(uint64(h.Train.Rows), uint64(h.Train.Cols))
	for r := range h.Train.Rows {
		cols, vals := h.Train.Row(r)
		w.list(cols)
		w.floats(vals)
	}
	w.list(h.Users)
	for _, l := range h.Relevant {
		w.list(l)
	}
	w.number(uint64(len(h.Candidates)))
	for _, l := range h.Candidates {
		w.list(l)
	}
	return hex.EncodeToString(d.Sum(nil))
}

// hashWriter writes numbers to a hash, little endian and each list behind its length. A hash's Write never fails.
type hashWriter struct {
	hash.Hash
	buf []byte
}

func (w *hashWriter) number(n ...uint64) {
	w.buf = w.buf[:0]
	for _, v := range n {
		w.buf = binary.LittleEndian.AppendUint64(w.buf, v)
	}
	_, _ = w.Write(w.buf)
}

func (w *hashWriter) list(l []uint32) {
	w.number(uint64(len(l)))
	w.buf = w.buf[:0]
	for _, v := range l {
		w.buf = binary.LittleEndian.AppendUint32(w.buf, v)
	}
	_, _ = w.Write(w.buf)
}

func (w *hashWriter) floats(l []float32) {
	w.buf = w.buf[:0]
	for _, v := range l {
		w.buf = binary.LittleEndian.AppendUint32(w.buf, floatBits(v))
	}
	_, _ = w.Write(w.buf)
}
