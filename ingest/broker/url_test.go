package broker

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestURLsThatAreRight(t *testing.T) {
	for raw, want := range map[string]target{
		"embedded:":                                 {embedded: true},
		"embedded:/var/lib/x":                       {embedded: true, dir: "/var/lib/x"},
		"embedded:rel/dir?accept_loss=true":         {embedded: true, dir: "rel/dir", acceptLoss: true},
		"embedded:?accept_loss=false":               {embedded: true},
		"kafka://h":                                 {seeds: []string{"h:9092"}},
		"kafka://h/":                                {seeds: []string{"h:9092"}},
		"kafka://h1:1,h2,[::1]:3,[fe80::1]":         {seeds: []string{"h1:1", "h2:9092", "[::1]:3", "[fe80::1]:9092"}},
		"kafka://u:p@h?sasl=plain":                  {seeds: []string{"h:9092"}, user: "u", password: "p", sasl: "plain"},
		"kafka://u:p%40%2f+%25:@h?sasl=plain":       {seeds: []string{"h:9092"}, user: "u", password: "p@/+%:", sasl: "plain"},
		"kafka://u:p/q@h?sasl=plain":                {seeds: []string{"h:9092"}, user: "u", password: "p/q", sasl: "plain"},
		"kafka://u:p@q@h?sasl=scram-sha-512":        {seeds: []string{"h:9092"}, user: "u", password: "p@q", sasl: "scram-sha-512"},
		"kafka://h?tls=true&ca=a.pem":               {seeds: []string{"h:9092"}, tls: true, ca: "a.pem"},
		"kafka://h?tls=true&cert=c&key=k":           {seeds: []string{"h:9092"}, tls: true, cert: "c", keyFile: "k"},
		"kafka://h?tls=true&insecure=true":          {seeds: []string{"h:9092"}, tls: true, insecure: true},
		"kafka://u:p@h?sasl=scram-sha-256&tls=true": {seeds: []string{"h:9092"}, user: "u", password: "p", sasl: "scram-sha-256", tls: true},
	} {
		got, err := parse(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v; %v", raw, got, want, err)
		}
	}
}

func TestURLsThatAreWrong(t *testing.T) {
	for raw, want := range map[string]string{
		"":                          "begins with embedded: or kafka://",
		"localhost":                 "begins with embedded: or kafka://",
		"redis://h":                 `unknown scheme "redis"; valid are embedded:, embedded:DIR and kafka://HOST`,
		"embedded://host":           "takes a folder",
		"embedded:?accept_los=true": `unknown option "accept_los"; valid are accept_loss`,
		"embedded:?accept_loss=yes": `must be true or false, is "yes"`,
		"kafka:h":                   "followed by //",
		"kafka://":                  "at least one host",
		"kafka://h,":                "at least one host",
		"kafka://h:0":               "between 1 and 65535",
		"kafka://h:99999":           "between 1 and 65535",
		"kafka://::1":               "brackets",
		"kafka://u:Secret":          "must be a number",
		"kafka://u:Sec:ret":         "brackets",
		"kafka://h/topic":           "no path",

		"kafka://u:Secret?x@h?sasl=plain":       "%3F",
		"kafka://u:Secret%zz@h?sasl=plain":      "percent escape",
		"kafka://Secret@h?sasl=plain":           "user:password",
		"kafka://:Secret@h?sasl=plain":          "empty user or password",
		"kafka://u:Secret@h":                    "needs option sasl, one of plain, scram-sha-256, scram-sha-512",
		"kafka://h?sasl=plain":                  "needs an account",
		"kafka://u:Secret@h?sasl=gssapi":        `one of plain, scram-sha-256, scram-sha-512, is "gssapi"`,
		"kafka://h?tls=yes":                     `must be true or false, is "yes"`,
		"kafka://h?ca=x":                        "need tls=true",
		"kafka://h?tls=true&cert=x":             "go together",
		"kafka://h?tls=true&insecure=true&ca=x": "leave one",
		"kafka://h?tsl=true":                    `unknown option "tsl"`,
		"kafka://h?tls=true&tls=true":           "given twice",
		"kafka://h?%zz=1":                       "percent escape",
	} {
		_, err := parse(raw)
		if err == nil {
			t.Errorf("%s: no error", raw)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"embedded:/x@y":                       "embedded:/x@y",
		"kafka://h":                           "kafka://h",
		"kafka://u:Secret@h?sasl=plain":       "kafka://u:***@h?sasl=plain",
		"kafka://u:Se@cr:et@h1,h2?sasl=plain": "kafka://u:***@h1,h2?sasl=plain",
		"kafka://u:Sec/r?et@h":                "***",
		"kafka://Secret@h":                    "***",
		"kafka:u:Secret@h":                    "***",
		"u:Secret@h":                          "***",
		"kafka://u:Secret":                    "***",
	} {
		if got := Redact(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"embedded:x?accept_loss=true", "kafka://u:pw-5ecret@h1:1,[::1]?sasl=plain&tls=true", "kafka://@", "a:b@c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		Redact(raw)
		got, err := parse(raw)
		if err != nil {
			return
		}
		if got.embedded == (len(got.seeds) > 0) {
			t.Errorf("%q: %+v", raw, got)
		}
		if got.password == "" {
			return
		}
		// What Broker.URL writes is read as it was meant.
		again := url.URL{Scheme: "kafka", User: url.UserPassword(got.user, got.password), Host: "h", RawQuery: "sasl=" + got.sasl}
		if back, err := parse(again.String()); err != nil || back.user != got.user || back.password != got.password {
			t.Errorf("%q: %+v from %q: %v", raw, back, again.String(), err)
		}
	})
}

func TestConfigErrorsNameTheirFields(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{URL: "kafka://u:Secret@h"}.Validate()
	for _, want := range []string{"broker.url: ", "broker.connect_timeout must be between 100ms and 10m0s, is 0s", "broker.max_batch_bytes must be"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if openFails(t, Config{}) == nil {
		t.Error("opened without a configuration")
	}
}

func TestFilesOfTLSAreNamedWhenTheyAreWrong(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for options, want := range map[string]string{
		"ca=/nowhere.pem":           "read option ca: open /nowhere.pem",
		"ca=" + junk:                "holds no certificate",
		"cert=" + junk + "&key=k":   "load options cert",
		"cert=/nowhere&key=/either": "load options cert",
	} {
		cfg := DefaultConfig()
		cfg.URL, cfg.ConnectTimeout = "kafka://127.0.0.1:1?tls=true&"+options, time.Minute
		if err := openFails(t, cfg); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}
