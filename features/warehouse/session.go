package warehouse

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"marquee/features/warehouse/chdb"
)

// maxSessions is how many statements the child runs side by side, results that are being read among them. A session
// costs 0.2 ms to make and next to no memory.
const maxSessions = 256

// session is a connection to the engine that knows what state it is in, so that a request pays only for what differs
// from the one before it.
type session struct {
	conn     *chdb.Conn
	mark     string // names its statements to KILL QUERY
	database string
	settings map[string]string // beside those that every session has
	spoiled  bool              // its state is unknown, or a stranger's: not to be used again
}

// sessions makes and keeps them.
type sessions struct {
	connect func() (*chdb.Conn, error)
	slots   chan struct{}
	drained int // slots that drain has taken; only drain touches it

	mu   sync.Mutex
	idle []*session // last used, first taken: it is the likeliest to be in the right state
}

func newSessions(connect func() (*chdb.Conn, error)) *sessions {
	return &sessions{connect: connect, slots: make(chan struct{}, maxSessions)}
}

// get takes a session that is in the database and has the settings.
func (p *sessions) get(ctx context.Context, database string, settings map[string]string) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := p.ready(database, settings)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return s, nil
}

func (p *sessions) ready(database string, settings map[string]string) (*session, error) {
	if s := p.pop(); s != nil {
		if s.adopt(database, settings) == nil {
			return s, nil
		}
		// The last request's settings may be such that they cannot be taken back, as readonly.
		s.conn.Close()
	}
	s, err := p.open()
	if err != nil {
		return nil, err
	}
	if err := s.adopt(database, settings); err != nil {
		s.conn.Close()
		return nil, err
	}
	return s, nil
}

// pop takes the session that was used last; nil where none is idle.
func (p *sessions) pop() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	s := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return s
}

func (p *sessions) open() (*session, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	s := &session{conn: c, mark: rand.Text(), database: "default"}
	// The library takes 1+1 for a statement where a server does not.
	if _, err := c.Exec("SET implicit_select = 0, log_comment = "+quoteText(s.mark), "Null", nil); err != nil {
		c.Close()
		return nil, fmt.Errorf("prepare a session: %w", err)
	}
	return s, nil
}

// put gives a session back.
func (p *sessions) put(s *session) {
	if s.spoiled {
		s.conn.Close()
	} else {
		p.mu.Lock()
		p.idle = append(p.idle, s)
		p.mu.Unlock()
	}
	<-p.slots
}

// drain waits until no session is in use, and lets none be used any more. It may be called again when it fails.
func (p *sessions) drain(wait time.Duration) error {
	deadline := time.After(wait)
	for ; p.drained < cap(p.slots); p.drained++ {
		select {
		case p.slots <- struct{}{}:
		case <-deadline:
			return fmt.Errorf("%d statements did not end", cap(p.slots)-p.drained)
		}
	}
	return nil
}

// close closes the sessions; drain must have been called.
func (p *sessions) close() {
	for s := p.pop(); s != nil; s = p.pop() {
		s.conn.Close()
	}
}

// adopt brings the session into the state that a request needs. After an error it must not be used.
func (s *session) adopt(database string, settings map[string]string) error {
	if database == "" {
		database = "default"
	}
	if database != s.database {
		if _, err := s.conn.Exec("USE "+quoteName(database), "Null", nil); err != nil {
			return err
		}
		s.database = database
	}
	changes := settingChanges(s.settings, settings)
	if len(changes) == 0 {
		return nil
	}
	if _, err := s.conn.Exec("SET "+strings.Join(changes, ", "), "Null", nil); err != nil {
		return err
	}
	s.settings = settings
	return nil
}

// settingChanges are the assignments that lead from the one state to the other, in a fixed order.
func settingChanges(from, to map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if _, keep := to[name]; !keep {
			out = append(out, name+" = DEFAULT")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(to)) {
		if value, same := from[name]; !same || value != to[name] {
			out = append(out, name+" = "+quoteText(to[name]))
		}
	}
	return out
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
