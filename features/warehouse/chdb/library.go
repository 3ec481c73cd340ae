// Package chdb binds libchdb, the ClickHouse engine as a library, without cgo. It belongs in a process of its own: the
// library has threads and handlers of its own, and a fault in it takes its process down.
package chdb

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Library is a loaded libchdb. Its functions are those of chdb.h, version 26.7.
type Library struct {
	connect       func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn     func(conn unsafe.Pointer)
	query         func(conn, q unsafe.Pointer, ql uintptr, f unsafe.Pointer, fl uintptr, names, nameLens, vals, valLens unsafe.Pointer, n uintptr) unsafe.Pointer
	streamQuery   func(conn, q unsafe.Pointer, ql uintptr, f unsafe.Pointer, fl uintptr, names, nameLens, vals, valLens unsafe.Pointer, n uintptr) unsafe.Pointer
	streamFetch   func(conn, res unsafe.Pointer) unsafe.Pointer
	streamCancel  func(conn, res unsafe.Pointer)
	destroy       func(res unsafe.Pointer)
	buffer        func(res unsafe.Pointer) unsafe.Pointer
	length        func(res unsafe.Pointer) uintptr
	rowsRead      func(res unsafe.Pointer) uint64
	rowsWritten   func(res unsafe.Pointer) uint64
	resultError   func(res unsafe.Pointer) unsafe.Pointer
	insert        func(conn, q unsafe.Pointer, ql uintptr, f unsafe.Pointer, fl uintptr, names, nameLens, vals, valLens unsafe.Pointer, n uintptr) unsafe.Pointer
	insertAppend  func(st, d unsafe.Pointer, n uintptr) int32
	insertDone    func(st unsafe.Pointer) unsafe.Pointer
	insertCancel  func(st unsafe.Pointer)
	insertError   func(st unsafe.Pointer) unsafe.Pointer
	insertDestroy func(st unsafe.Pointer)
	shutdown      func() int32
}

// Load opens the library at path. Its signal handlers are switched off before anything else is called: with them, a
// recovered nil dereference anywhere in the Go program would hang the process.
func Load(path string) (*Library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	l := &Library{}
	var signalHandlers func(enabled int32)
	for name, target := range map[string]any{
		"chdb_set_signal_handlers_enabled": &signalHandlers,
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_query_with_params_n":         &l.query,
		"chdb_stream_query_with_params_n":  &l.streamQuery,
		"chdb_stream_fetch_result":         &l.streamFetch,
		"chdb_stream_cancel_query":         &l.streamCancel,
		"chdb_destroy_query_result":        &l.destroy,
		"chdb_result_buffer":               &l.buffer,
		"chdb_result_length":               &l.length,
		"chdb_result_rows_read":            &l.rowsRead,
		"chdb_result_rows_written":         &l.rowsWritten,
		"chdb_result_error":                &l.resultError,
		"chdb_stream_insert_with_params_n": &l.insert,
		"chdb_stream_append":               &l.insertAppend,
		"chdb_stream_done":                 &l.insertDone,
		"chdb_stream_cancel_insert":        &l.insertCancel,
		"chdb_stream_insert_error":         &l.insertError,
		"chdb_destroy_insert_stream":       &l.insertDestroy,
		"chdb_shutdown":                    &l.shutdown,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("%s is not the libchdb this program was built for: no %s: %w", path, name, err)
		}
		purego.RegisterFunc(target, symbol)
	}
	signalHandlers(0)
	return l, nil
}

// Shutdown ends the engine for the rest of the process's life; every connection must be closed before. It is complete only
// where no table was in use: the library leaves those tables' background threads to the process's end. That harms nothing,
// as parts of tables are written whole or not at all.
func (l *Library) Shutdown() (complete bool) { return l.shutdown() == 0 }

// Connect opens a connection to the database in the folder dir; options are settings of the engine in the form --name=value.
// All connections of a process must be to one folder, and the first one's options are those of all.
func (l *Library) Connect(dir string, options ...string) (*Conn, error) {
	args := append([]string{"chdb", "--path=" + dir}, options...)
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]unsafe.Pointer, len(args)+1)
	pin.Pin(&argv[0])
	for i, a := range args {
		b := append([]byte(a), 0)
		pin.Pin(&b[0])
		argv[i] = unsafe.Pointer(&b[0])
	}
	handle := l.connect(int32(len(args)), unsafe.Pointer(&argv[0]))
	if handle == nil || *(*unsafe.Pointer)(handle) == nil {
		return nil, fmt.Errorf("open the engine's folder %s: libchdb gave no reason; its log has one", dir)
	}
	return &Conn{lib: l, handle: handle}, nil
}

// text copies a C string.
func text(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// pointer gives the first byte of s; the library never reads it where the length is 0.
func pointer(s string) unsafe.Pointer {
	if s == "" {
		return unsafe.Pointer(unsafe.StringData("\x00"))
	}
	return unsafe.Pointer(unsafe.StringData(s))
}

var errNoResult = errors.New("libchdb gave no result")
