package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValuesSurviveJavaProperties(t *testing.T) {
	for value, want := range map[string]string{
		"plain": "plain", `C:\x`: `C:\\x`, "é": `\u00e9`, "🎬": `\ud83c\udfac`, "a=b:c#d": "a=b:c#d",
	} {
		if got := property(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	if got := jaas(`a"b\c`); got != `a\"b\\c` {
		t.Errorf("%q", got)
	}
}

func TestCertificatesVouchForBrokerAndClient(t *testing.T) {
	files, err := writeCerts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(files.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	for file, opts := range map[string]x509.VerifyOptions{
		files.keyStore:   {Roots: pool, DNSName: "127.0.0.1"},
		files.clientCert: {Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
	} {
		key := file
		if file == files.clientCert {
			key = files.clientKey
		}
		pair, err := tls.LoadX509KeyPair(file, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(opts); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

func TestFetchNeedsMavenOnlyOnce(t *testing.T) {
	t.Setenv("PATH", "")
	cache := t.TempDir()
	if err := Fetch(context.Background(), cache, io.Discard); err == nil || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("without Maven: %v", err)
	}
	if err := os.Mkdir(jars(cache), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Fetch(context.Background(), cache, io.Discard); err != nil {
		t.Errorf("with the jars there: %v", err)
	}
}

func TestAFailedFetchLeavesNothing(t *testing.T) {
	bin, cache := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if err := Fetch(context.Background(), cache, io.Discard); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 0 {
		t.Errorf("left %v: %v", left, err)
	}
}

func TestReadySaysWhatIsMissing(t *testing.T) {
	bin, cache := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin)
	if err := Ready(cache); !errors.Is(err, ErrNoJava) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "java"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Ready(cache); !errors.Is(err, ErrNoJars) {
		t.Error(err)
	}
	if _, err := Start(context.Background(), Options{Cache: cache, Dir: t.TempDir()}); !errors.Is(err, ErrNoJars) {
		t.Error(err)
	}
}

func TestThePortsDiffer(t *testing.T) {
	p, err := choosePorts("")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{p.plain: true, p.sasl: true, p.mutual: true, p.controller: true}
	if len(seen) != 4 {
		t.Errorf("%+v", p)
	}
	if _, err := choosePorts("127.0.0.1:notaport"); err == nil {
		t.Error("listens on no port")
	}
}
