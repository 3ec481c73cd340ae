// Package port finds a free TCP port for a server that a test starts.
package port

import "net"

// Free is a TCP port on 127.0.0.1 that nobody listened on a moment ago.
func Free() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
