package chdb

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Conn is one connection. It runs one statement at a time: its methods must not be called side by side.
type Conn struct {
	lib    *Library
	handle unsafe.Pointer
}

// Close ends the connection.
func (c *Conn) Close() {
	c.lib.closeConn(c.handle)
	c.handle = nil
}

func (c *Conn) inner() unsafe.Pointer { return *(*unsafe.Pointer)(c.handle) }

// Result is what a statement gave back whole.
type Result struct {
	Data                  []byte
	RowsRead, RowsWritten uint64
}

// parameters lays query parameters out as the library takes them.
type parameters struct {
	names, values         []unsafe.Pointer
	nameBytes, valueBytes []uintptr
	keep                  []string
}

func layOut(params map[string]string) *parameters {
	p := &parameters{}
	for k, v := range params {
		p.keep = append(p.keep, k, v)
		p.names, p.nameBytes = append(p.names, pointer(k)), append(p.nameBytes, uintptr(len(k)))
		p.values, p.valueBytes = append(p.values, pointer(v)), append(p.valueBytes, uintptr(len(v)))
	}
	if len(params) == 0 {
		p.names, p.values = []unsafe.Pointer{nil}, []unsafe.Pointer{nil}
		p.nameBytes, p.valueBytes = []uintptr{0}, []uintptr{0}
	}
	return p
}

type queryFunc = func(conn, q unsafe.Pointer, ql uintptr, f unsafe.Pointer, fl uintptr, names, nameLens, vals, valLens unsafe.Pointer, n uintptr) unsafe.Pointer

func (c *Conn) run(f queryFunc, sql, format string, params map[string]string) unsafe.Pointer {
	p := layOut(params)
	r := f(c.inner(), pointer(sql), uintptr(len(sql)), pointer(format), uintptr(len(format)),
		unsafe.Pointer(&p.names[0]), unsafe.Pointer(&p.nameBytes[0]), unsafe.Pointer(&p.values[0]), unsafe.Pointer(&p.valueBytes[0]), uintptr(len(params)))
	runtime.KeepAlive(p)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	return r
}

// Exec runs a statement and returns its result whole.
func (c *Conn) Exec(sql, format string, params map[string]string) (*Result, error) {
	return c.lib.take(c.run(c.lib.query, sql, format, params))
}

// take copies a result and frees it.
func (l *Library) take(r unsafe.Pointer) (*Result, error) {
	if r == nil {
		return nil, errNoResult
	}
	defer l.destroy(r)
	if e := l.resultError(r); e != nil {
		return nil, errors.New(text(e))
	}
	out := &Result{RowsRead: l.rowsRead(r), RowsWritten: l.rowsWritten(r)}
	if n := l.length(r); n > 0 {
		out.Data = append([]byte(nil), unsafe.Slice((*byte)(l.buffer(r)), n)...)
	}
	return out, nil
}

// Stream runs a query and hands its result on in pieces, which end with the call they are handed to. An error of each
// cancels the query.
func (c *Conn) Stream(sql, format string, params map[string]string, each func([]byte) error) error {
	r := c.run(c.lib.streamQuery, sql, format, params)
	if r == nil {
		return errNoResult
	}
	defer c.lib.destroy(r)
	if e := c.lib.resultError(r); e != nil {
		return errors.New(text(e))
	}
	for {
		more, err := c.piece(r, each)
		if err != nil || !more {
			return err
		}
	}
}

func (c *Conn) piece(r unsafe.Pointer, each func([]byte) error) (bool, error) {
	chunk := c.lib.streamFetch(c.inner(), r)
	if chunk == nil {
		return false, errNoResult
	}
	defer c.lib.destroy(chunk)
	if e := c.lib.resultError(chunk); e != nil {
		return false, errors.New(text(e))
	}
	n := c.lib.length(chunk)
	if n == 0 {
		return false, nil
	}
	if err := each(unsafe.Slice((*byte)(c.lib.buffer(chunk)), n)); err != nil {
		c.lib.streamCancel(c.inner(), r)
		return false, err
	}
	return true, nil
}

// Insert is an INSERT whose data is being given. It must be ended by Done or Cancel.
type Insert struct {
	lib    *Library
	handle unsafe.Pointer
}

// Insert begins an INSERT; target is the statement without its FORMAT. Data must come through here: in the statement's own
// text the engine loses rows of binary formats.
func (c *Conn) Insert(target, format string, params map[string]string) (*Insert, error) {
	st := c.run(c.lib.insert, target, format, params)
	if st == nil {
		return nil, errNoResult
	}
	if e := c.lib.insertError(st); e != nil {
		defer c.lib.insertDestroy(st)
		return nil, errors.New(text(e))
	}
	return &Insert{c.lib, st}, nil
}

// Write gives data.
func (i *Insert) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if i.lib.insertAppend(i.handle, unsafe.Pointer(&b[0]), uintptr(len(b))) != 0 {
		return 0, fmt.Errorf("insert: %s", text(i.lib.insertError(i.handle)))
	}
	return len(b), nil
}

// Done ends the insert: when it returns without an error, the rows are in.
func (i *Insert) Done() (*Result, error) {
	defer i.lib.insertDestroy(i.handle)
	return i.lib.take(i.lib.insertDone(i.handle))
}

// Cancel gives the insert up.
func (i *Insert) Cancel() {
	i.lib.insertCancel(i.handle)
	i.lib.insertDestroy(i.handle)
}
