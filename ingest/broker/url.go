package broker

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const defaultPort = "9092"

// target is what a broker URL says.
type target struct {
	embedded   bool
	dir        string // of the embedded broker; empty means the data folder
	acceptLoss bool

	seeds             []string // host:port
	user, password    string
	sasl              string // plain, scram-sha-256, scram-sha-512 or nothing
	tls, insecure     bool
	ca, cert, keyFile string
}

// parse reads a broker URL. Its errors never repeat what may be a password.
func parse(raw string) (target, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return target{}, errors.New("a broker URL begins with embedded: or kafka://")
	}
	switch scheme {
	case "embedded":
		return parseEmbedded(rest)
	case "kafka":
		return parseKafka(rest)
	default:
		return target{}, fmt.Errorf("unknown scheme %q; valid are embedded:, embedded:DIR and kafka://HOST", scheme)
	}
}

func parseEmbedded(rest string) (target, error) {
	dir, query, _ := strings.Cut(rest, "?")
	t := target{embedded: true, dir: dir}
	if strings.HasPrefix(dir, "//") {
		return t, errors.New("embedded: takes a folder, as in embedded:/var/lib/marquee/broker, not a host")
	}
	values, err := options(query, "accept_loss")
	if err != nil {
		return t, err
	}
	return t, boolean(values, "accept_loss", &t.acceptLoss)
}

func parseKafka(rest string) (target, error) {
	var t target
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return t, errors.New("kafka: is followed by //, as in kafka://localhost:9092")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") {
		return t, errors.New("an @ after ?: in a password, ? is written %3F; in an option, @ is written %40")
	}
	// A password may hold an unescaped @; a host may not.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if err := t.account(rest[:at]); err != nil {
			return t, err
		}
		rest = rest[at+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if path != "" {
		return t, errors.New("a kafka:// URL has no path after its hosts; in a password, / is written %2F and ? is written %3F")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		seed, err := seed(host)
		if err != nil {
			return t, err
		}
		t.seeds = append(t.seeds, seed)
	}
	values, err := options(query, "sasl", "tls", "ca", "cert", "key", "insecure")
	if err != nil {
		return t, err
	}
	t.sasl, t.ca, t.cert, t.keyFile = values.Get("sasl"), values.Get("ca"), values.Get("cert"), values.Get("key")
	if err := errors.Join(boolean(values, "tls", &t.tls), boolean(values, "insecure", &t.insecure)); err != nil {
		return t, err
	}
	return t, t.consistent()
}

func (t *target) account(userinfo string) error {
	user, password, ok := strings.Cut(userinfo, ":")
	if !ok {
		return errors.New("the account in a kafka:// URL is user:password")
	}
	var errs [2]error
	t.user, errs[0] = url.PathUnescape(user)
	t.password, errs[1] = url.PathUnescape(password)
	if errs[0] != nil || errs[1] != nil {
		return errors.New("the account in a kafka:// URL has a broken percent escape; % itself is written %25")
	}
	if t.user == "" || t.password == "" {
		return errors.New("the account in a kafka:// URL has an empty user or password")
	}
	return nil
}

func seed(host string) (string, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), defaultPort
		if strings.Contains(name, ":") && !strings.HasPrefix(host, "[") {
			return "", errors.New("an IPv6 address in a kafka:// URL stands in brackets, as in [::1]:9092")
		}
	}
	if name == "" {
		return "", errors.New("a kafka:// URL names at least one host, as in kafka://localhost:9092")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		// The port is not repeated: of an account without a host it would be the password.
		return "", fmt.Errorf("host %q: the port must be a number between 1 and 65535", name)
	}
	return net.JoinHostPort(name, port), nil
}

func (t *target) consistent() error {
	mechanisms := []string{"plain", "scram-sha-256", "scram-sha-512"}
	switch {
	case t.sasl != "" && !slices.Contains(mechanisms, t.sasl):
		return fmt.Errorf("option sasl must be one of %s, is %q", strings.Join(mechanisms, ", "), t.sasl)
	case t.sasl != "" && t.user == "":
		return fmt.Errorf("option sasl=%s needs an account: kafka://user:password@host", t.sasl)
	case t.sasl == "" && t.user != "":
		return fmt.Errorf("an account needs option sasl, one of %s", strings.Join(mechanisms, ", "))
	case !t.tls && (t.insecure || t.ca != "" || t.cert != "" || t.keyFile != ""):
		return errors.New("options ca, cert, key and insecure need tls=true")
	case (t.cert == "") != (t.keyFile == ""):
		return errors.New("options cert and key go together")
	case t.insecure && t.ca != "":
		return errors.New("option insecure checks nothing, so ca has no use: leave one of them out")
	}
	return nil
}

// options reads the query and refuses what it does not know, or knows twice.
func options(query string, valid ...string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the options after ? have a broken percent escape; in a password, ? is written %3F")
	}
	for name, given := range values {
		if !slices.Contains(valid, name) {
			return nil, fmt.Errorf("unknown option %q; valid are %s", name, strings.Join(valid, ", "))
		}
		if len(given) > 1 {
			return nil, fmt.Errorf("option %s is given twice", name)
		}
	}
	return values, nil
}

func boolean(values url.Values, name string, into *bool) error {
	switch values.Get(name) {
	case "true":
		*into = true
	case "false", "":
	default:
		return fmt.Errorf("option %s must be true or false, is %q", name, values.Get(name))
	}
	return nil
}

// Redact is a broker URL fit to be shown: without its password, and without anything when it cannot be told where that is.
func Redact(raw string) string {
	t, err := parse(raw)
	switch {
	case err != nil:
		return "***"
	case t.user == "":
		return raw
	}
	return "kafka://" + url.PathEscape(t.user) + ":***" + raw[strings.LastIndexByte(raw, '@'):]
}
