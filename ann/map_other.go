//go:build !unix

package ann

import "os"

// mapFile reads a file into memory, where it cannot be mapped.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return aligned(b), func() error { return nil }, nil
}
