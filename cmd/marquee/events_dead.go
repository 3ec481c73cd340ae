package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest"
	"marquee/ingest/deadletters"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

type eventsDeadCommands struct {
	List   eventsDeadListCommand   `cmd:"" help:"List records that were refused and neither sent again nor dropped."`
	Show   eventsDeadShowCommand   `cmd:"" help:"Show one, whole."`
	Replay eventsDeadReplayCommand `cmd:"" help:"Send them again: through the same checks, under the same event_id."`
	Drop   eventsDeadDropCommand   `cmd:"" help:"Give them up: they are listed no more."`
}

// deadLetter is a refused record as it is shown.
type deadLetter struct {
	ID          string `json:"id"`
	RefusedAt   string `json:"refused_at"`
	Reason      string `json:"reason"`
	ProfileID   string `json:"profile_id"`
	ContentType string `json:"content_type,omitempty"`
	Bytes       int    `json:"bytes"`
	// Text is the record where it is text, Event what can be read of it; Value is the record itself.
	Text  string          `json:"text,omitempty"`
	Event json.RawMessage `json:"event,omitempty"`
	Value []byte          `json:"value,omitempty"`
}

func shownLetter(l deadletters.Letter) deadLetter {
	return deadLetter{
		ID: l.ID.String(), RefusedAt: time.UnixMicro(l.RefusedAt).UTC().Format(time.RFC3339Nano), Reason: l.Reason,
		ProfileID: printable(l.Key), ContentType: l.ContentType, Bytes: len(l.Value),
	}
}

// printable is text, or what stands for bytes that are none.
func printable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return fmt.Sprintf("%q", b)
}

// withLetters opens the dead letters of the log that is followed.
func (c *console) withLetters(work func(context.Context, *engines, *deadletters.Box) error) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	log, err := e.logOf(c.ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return err
	}
	client, err := e.NewClient(deadletters.Options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	box, err := deadletters.Open(c.ctx, e.db, client, log)
	if err != nil {
		return err
	}
	return work(c.ctx, e, box)
}

type eventsDeadListCommand struct {
	Limit int  `default:"100" help:"List this many at most; 0 means all." placeholder:"N"`
	JSON  bool `help:"Print JSON, one letter a line."`
}

// Run lists.
func (l eventsDeadListCommand) Run(c *console) error {
	return c.withLetters(func(ctx context.Context, _ *engines, box *deadletters.Box) error {
		var rows [][]string
		more := false
		n := 0
		err := box.Each(ctx, func(letter deadletters.Letter) (bool, error) {
			if more = l.Limit > 0 && n == l.Limit; more {
				return false, nil
			}
			n++
			shown := shownLetter(letter)
			if l.JSON {
				return true, json.NewEncoder(c.stdout).Encode(shown)
			}
			rows = append(rows, []string{shown.ID, shown.RefusedAt, shown.ProfileID, fmt.Sprint(shown.Bytes), clipText(shown.Reason, 100)})
			return true, nil
		})
		if err != nil || l.JSON {
			return err
		}
		if n == 0 {
			fmt.Fprintln(c.stdout, "no dead letters")
			return nil
		}
		if err := printTable(c.stdout, []string{"id", "refused at", "profile", "bytes", "reason"}, rows); err != nil {
			return err
		}
		if more {
			fmt.Fprintf(c.stdout, "and more; --limit 0 lists all\n")
		}
		return nil
	})
}

// clipText keeps a text to so many characters.
func clipText(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

type eventsDeadShowCommand struct {
	ID string `arg:"" help:"The letter's id, as list prints it."`
}

// Run shows the letter as JSON.
func (s eventsDeadShowCommand) Run(c *console) error {
	id, err := deadletters.ParseID(s.ID)
	if err != nil {
		return usageError{err}
	}
	return c.withLetters(func(ctx context.Context, _ *engines, box *deadletters.Box) error {
		letters, err := box.Find(ctx, []deadletters.ID{id})
		if err != nil {
			return err
		}
		shown := shownLetter(letters[0])
		if shown.Value = letters[0].Value; utf8.Valid(shown.Value) {
			shown.Text = string(shown.Value)
		}
		var d watchevent.Decoder
		if event, err := d.Decode(letters[0].Value); err == nil && letters[0].ContentType != ingestv1.ContentTypeJSON {
			if shown.Event, err = json.Marshal(event); err != nil {
				return fmt.Errorf("show what can be read: %w", err)
			}
		}
		return printJSON(c.stdout, shown)
	})
}

type eventsDeadReplayCommand struct {
	IDs   []string `arg:"" optional:"" name:"id" help:"The letters' ids."`
	All   bool     `help:"All of them."`
	Event string   `help:"Send this event in the letter's place: a file with the event as JSON." type:"existingfile" placeholder:"FILE"`
}

// Run sends letters again. A letter whose record is still no watch event stays and is told with its reason.
func (r eventsDeadReplayCommand) Run(c *console) error {
	ids, err := chosenLetters(r.IDs, r.All)
	if err != nil {
		return err
	}
	if r.Event != "" && len(ids) != 1 {
		return usageError{errors.New("--event stands for one letter: give one id")}
	}
	return c.withLetters(func(ctx context.Context, e *engines, box *deadletters.Box) error {
		return r.replay(ctx, c, e, box, ids)
	})
}

func (r eventsDeadReplayCommand) replay(ctx context.Context, c *console, e *engines, box *deadletters.Box, ids []deadletters.ID) error {
	publisher, err := ingest.NewPublisher(e.settings.Ingest, func(opts ...kgo.Opt) (*kgo.Client, error) { return e.NewClient(opts...) }, e.metrics)
	if err != nil {
		return err
	}
	defer publisher.Close()
	sent, refused := 0, 0
	send := func(letter deadletters.Letter) (bool, error) {
		event, err := r.event(letter)
		if err != nil {
			refused++
			fmt.Fprintf(c.stdout, "%s is refused again: %v\n", letter.ID, err)
			return true, nil
		}
		// It arrives now; what depends on when it was first refused has been decided by then's clock.
		event.ReceivedAt = time.Now().UnixMicro()
		if _, err := publisher.Publish(ctx, []*ingestv1.WatchEvent{event}); err != nil {
			return false, fmt.Errorf("send %s again: %w", letter.ID, err)
		}
		sent++
		return true, box.Replayed(ctx, letter.ID)
	}
	if r.All {
		err = box.Each(ctx, send)
	} else {
		var letters []deadletters.Letter
		if letters, err = box.Find(ctx, ids); err == nil {
			for _, letter := range letters {
				if _, err = send(letter); err != nil {
					break
				}
			}
		}
	}
	fmt.Fprintf(c.stdout, "%d sent again, %d refused again\n", sent, refused)
	if err == nil && refused > 0 {
		err = fmt.Errorf("%d of %d dead letters are still no watch events: correct them with --event FILE, or drop them", refused, refused+sent)
	}
	return err
}

// event is what is sent in the letter's place.
func (r eventsDeadReplayCommand) event(letter deadletters.Letter) (*ingestv1.WatchEvent, error) {
	if r.Event != "" {
		text, err := os.ReadFile(r.Event)
		if err != nil {
			return nil, fmt.Errorf("read the event: %w", err)
		}
		return letter.Corrected(text)
	}
	if !letter.Whole() {
		return nil, errors.New("the letter does not hold the whole record")
	}
	return letter.Read()
}

type eventsDeadDropCommand struct {
	IDs []string `arg:"" optional:"" name:"id" help:"The letters' ids."`
	All bool     `help:"All of them."`
}

// Run gives letters up.
func (d eventsDeadDropCommand) Run(c *console) error {
	ids, err := chosenLetters(d.IDs, d.All)
	if err != nil {
		return err
	}
	return c.withLetters(func(ctx context.Context, _ *engines, box *deadletters.Box) error {
		if d.All {
			err = box.Each(ctx, func(l deadletters.Letter) (bool, error) {
				ids = append(ids, l.ID)
				return true, nil
			})
		} else {
			_, err = box.Find(ctx, ids)
		}
		if err != nil {
			return err
		}
		if err := box.Drop(ctx, ids...); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "%d dropped\n", len(ids))
		return nil
	})
}

func chosenLetters(texts []string, all bool) ([]deadletters.ID, error) {
	if all == (len(texts) > 0) {
		return nil, usageError{errors.New("give the ids that events dead list prints, or --all")}
	}
	var ids []deadletters.ID
	for _, text := range texts {
		id, err := deadletters.ParseID(text)
		if err != nil {
			return nil, usageError{err}
		}
		ids = append(ids, id)
	}
	return ids, nil
}
