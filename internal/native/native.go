// Package native finds the two native libraries Marquee uses: libchdb, the ClickHouse engine of the embedded warehouse, and
// libonnxruntime, which runs models. Neither is in the project: `make setup` fetches them, pinned and checksummed, into
// the folder .native, which git ignores.
package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Library is one of the native libraries.
type Library string

// The native libraries, by the name of their file.
const (
	ChDB        Library = "libchdb.so"
	ONNXRuntime Library = "libonnxruntime.so"
)

// DirVariable names the environment variable that says where the libraries are: a folder that holds linux-amd64 or
// linux-arm64, or the files themselves.
const DirVariable = "MARQUEE_NATIVE_DIR"

// folder is where the libraries live, beside the binary's folder or above the working one.
const folder = ".native"

// ErrMissing is wrapped by errors about a library that is not there.
var ErrMissing = errors.New("native library missing")

// Platform is the running platform as the libraries' folders are named: linux-amd64.
func Platform() string { return runtime.GOOS + "-" + runtime.GOARCH }

// LibraryPath finds a library: in the folder that MARQUEE_NATIVE_DIR names, else in the nearest .native at or above the
// executable's folder, else at or above the working folder.
func LibraryPath(lib Library) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's own file: %w", err)
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working folder: %w", err)
	}
	return find(lib, os.Getenv(DirVariable), filepath.Dir(exe), wd)
}

func find(lib Library, named string, from ...string) (string, error) {
	if named != "" {
		for _, path := range []string{filepath.Join(named, Platform(), string(lib)), filepath.Join(named, string(lib))} {
			if isFile(path) {
				return path, nil
			}
		}
		return "", fmt.Errorf("%w: %s is not in %s, which %s names; `make setup` fetches it", ErrMissing, lib, named, DirVariable)
	}
	for _, dir := range from {
		for {
			if path := filepath.Join(dir, folder, Platform(), string(lib)); isFile(path) {
				return path, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", fmt.Errorf("%w: no %s/%s/%s at or above %s; run `make setup` in the project, or name its folder in %s",
		ErrMissing, folder, Platform(), lib, strings.Join(slices.Compact(from), " or "), DirVariable)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeType == 0
}
