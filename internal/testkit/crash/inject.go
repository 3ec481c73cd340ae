package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"marquee/internal/crashpoint"
	"marquee/internal/datadir"
	"marquee/internal/db"
)

// The moment of a fault lies between these after the load began, and what was killed rests as long as this at most.
const (
	earliest = 100 * time.Millisecond
	latest   = 900 * time.Millisecond
	rest     = 300 * time.Millisecond
	// pointTimeout is how long a service may take to come to the point it is to die at.
	pointTimeout = 20 * time.Second
)

// prepare brings the services into the state the fault needs before the load begins.
func (w *world) prepare(ctx context.Context, fault Fault, random *rand.Rand) error {
	if fault.Kind == Point {
		victim := w.services[0]
		end := victim.kill
		if random.IntN(2) == 0 {
			end = func() error { return victim.stop(ctx) }
		}
		if err := end(); err != nil {
			return err
		}
		env := append(w.env(), fmt.Sprintf("%s=%s:%d", crashpoint.EnvAt, fault.At, 1+random.IntN(4)))
		if fault.Slow != "" {
			env = append(env, crashpoint.EnvSlow+"="+fault.Slow)
		}
		if err := victim.start(nil, env...); err != nil {
			return err
		}
	}
	for _, p := range w.services {
		// The one that is to die may find a range to do so at before it is ready.
		if fault.Kind == Point && p == w.services[0] {
			continue
		}
		if !p.running() {
			if err := p.start(nil, w.env()...); err != nil {
				return err
			}
		}
		if err := p.awaitUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inject makes the fault happen and brings back what it took.
func (w *world) inject(ctx context.Context, fault Fault, random *rand.Rand) error {
	if fault.Kind == Point {
		return w.dieAt(ctx, fault)
	}
	if err := pause(ctx, random, earliest, latest); err != nil {
		return err
	}
	switch fault.Kind {
	case KillService:
		return w.killAndRestart(ctx, random, w.services[0].kill, w.services[0].up)
	case Rebalance:
		last := w.services[len(w.services)-1]
		leave := last.kill
		if random.IntN(2) == 0 {
			leave = func() error { return last.stop(ctx) }
		}
		return w.killAndRestart(ctx, random, leave, last.up)
	case KillWarehouse:
		w.recoveries++
		return w.holder.killWarehouse()
	case KillDatabase:
		return w.killAndRestart(ctx, random, w.postgres.Kill, func(context.Context) error { return w.postgres.Restart() })
	case KillKafka:
		return w.killAndRestart(ctx, random, w.kafka.Kill, w.kafka.Restart)
	case ReplayGroup:
		return w.offline(ctx, func() error { return w.setGroupBack(ctx, random) })
	case ReplayLedger:
		return w.offline(ctx, func() error { return w.setLedgerBack(ctx, random) })
	}
	return fmt.Errorf("no such fault: %s", fault)
}

func pause(ctx context.Context, random *rand.Rand, least, most time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(least + time.Duration(random.Int64N(int64(most-least)))):
		return nil
	}
}

func (w *world) killAndRestart(ctx context.Context, random *rand.Rand, kill func() error, restart func(context.Context) error) error {
	if err := kill(); err != nil {
		return err
	}
	w.recoveries++
	if err := pause(ctx, random, 0, rest); err != nil {
		return err
	}
	return restart(ctx)
}

// dieAt waits for the service to die by itself, and starts it again.
func (w *world) dieAt(ctx context.Context, fault Fault) error {
	victim := w.services[0]
	select {
	case <-victim.ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pointTimeout):
		return fmt.Errorf("the service never came to %s", fault.At)
	}
	w.recoveries++
	if err := victim.gone(); err != nil {
		return err
	}
	if state := victim.cmd.ProcessState; state == nil || state.ExitCode() != -1 {
		return fmt.Errorf("the service was to die at %s and ended by itself: %v; see %s.log", fault.At, state, victim.dir)
	}
	if err := victim.start(nil, w.env()...); err != nil {
		return err
	}
	return victim.awaitUp(ctx)
}

// offline kills the services, does something to what they left, and starts them again.
func (w *world) offline(ctx context.Context, do func() error) error {
	for _, p := range w.services {
		if err := p.kill(); err != nil {
			return err
		}
		w.recoveries++
	}
	if err := do(); err != nil {
		return err
	}
	return w.up(ctx)
}

// setGroupBack commits offsets for the group that lie before what it has consumed.
func (w *world) setGroupBack(ctx context.Context, random *rand.Rand) error {
	broker, stop, err := w.brokerClient(ctx)
	if err != nil {
		return err
	}
	defer broker.Close()
	admin := kadm.NewClient(broker)
	fetched, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return errors.Join(fmt.Errorf("read the group's offsets: %w", err), stop())
	}
	back := make(kadm.Offsets)
	fetched.Each(func(o kadm.OffsetResponse) {
		back.Add(kadm.Offset{Topic: topic, Partition: o.Partition, At: random.Int64N(max(o.At, 1)), LeaderEpoch: -1})
	})
	// A group is free to be written to when its members have gone, which the dead have after the session's timeout.
	for len(back) > 0 {
		answer, err := admin.CommitOffsets(ctx, group, back)
		if err == nil && answer.Error() == nil {
			break
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("set the group back: %w", errors.Join(err, answer.Error())), stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return stop()
}

// brokerClient opens a client of the broker while no consumer runs, and returns what ends it again. An embedded broker
// runs in a service without consumer meanwhile.
func (w *world) brokerClient(ctx context.Context) (*kgo.Client, func() error, error) {
	if w.kafka != nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr()))
		return client, func() error { return nil }, err
	}
	p := w.services[0]
	if err := p.start([]string{"--modules", "catalog"}); err != nil {
		return nil, nil, err
	}
	if err := p.awaitUp(ctx); err != nil {
		return nil, nil, err
	}
	owner, _, err := datadir.Peek(p.dir)
	if err != nil {
		return nil, nil, err
	}
	client, err := openSASL(owner.Engines["broker"])
	return client, p.kill, err
}

// setLedgerBack makes the ledger an older copy of itself, as a restored database would be, or one that knows nothing.
func (w *world) setLedgerBack(ctx context.Context, random *rand.Rand) (err error) {
	database, err := db.Open(ctx, w.database, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if random.IntN(3) == 0 {
		for _, table := range []string{"ingest_ranges", "ingest_partitions", "followed_logs"} {
			if _, err := database.ExecContext(ctx, "DELETE FROM "+table); err != nil {
				return fmt.Errorf("empty the ledger: %w", err)
			}
		}
		return nil
	}
	var ranges []struct {
		PartitionNo int32
		FirstOffset int64
	}
	err = database.NewSelect().Table("ingest_ranges").Column("partition_no", "first_offset").Order("first_offset DESC").Scan(ctx, &ranges)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	left := map[int32]int{}
	for p := range int32(64) {
		left[p] = random.IntN(12)
	}
	for _, r := range ranges {
		if left[r.PartitionNo] == 0 {
			continue
		}
		left[r.PartitionNo]--
		if _, err := database.ExecContext(ctx, "DELETE FROM ingest_ranges WHERE partition_no = ? AND first_offset = ?", r.PartitionNo, r.FirstOffset); err != nil {
			return fmt.Errorf("set the ledger back: %w", err)
		}
		if _, err := database.ExecContext(ctx, "UPDATE ingest_partitions SET next_offset = ?, checksum = -1 WHERE partition_no = ?", r.FirstOffset, r.PartitionNo); err != nil {
			return fmt.Errorf("set the ledger back: %w", err)
		}
	}
	return nil
}

// openSASL opens a client by the address a service left for commands beside it.
func openSASL(address string) (*kgo.Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil, errors.New("the service does not say where its broker is")
	}
	password, _ := u.User.Password()
	return kgo.NewClient(kgo.SeedBrokers(u.Host), kgo.SASL(scram.Auth{User: u.User.Username(), Pass: password}.AsSha256Mechanism()))
}
