package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func (t *target) mechanism() sasl.Mechanism {
	auth := scram.Auth{User: t.user, Pass: t.password}
	switch t.sasl {
	case "plain":
		return plain.Auth{User: t.user, Pass: t.password}.AsMechanism()
	case "scram-sha-256":
		return auth.AsSha256Mechanism()
	case "scram-sha-512":
		return auth.AsSha512Mechanism()
	}
	return nil
}

// securityOpts are the client options for the account and TLS of the URL.
func (t *target) securityOpts() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if m := t.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	if !t.tls {
		return opts, nil
	}
	cfg, err := t.tlsConfig()
	if err != nil {
		return nil, err
	}
	return append(opts, kgo.DialTLSConfig(cfg)), nil
}

func (t *target) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.insecure}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("read option ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("option ca: %s holds no certificate in PEM form", t.ca)
		}
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.keyFile)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("load options cert %s and key %s", t.cert, t.keyFile), err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
