package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// certFiles is what writeCerts leaves in a folder. Kafka reads PEM: no Java key store is needed.
type certFiles struct {
	ca         string // the authority's certificate
	keyStore   string // the broker's key and certificate in one file
	clientCert string
	clientKey  string
}

// writeCerts makes a certificate authority and lets it sign a certificate for a broker on this machine and one for a client.
func writeCerts(dir string) (certFiles, error) {
	files := certFiles{
		ca: filepath.Join(dir, "ca.pem"), keyStore: filepath.Join(dir, "broker.pem"),
		clientCert: filepath.Join(dir, "client.pem"), clientKey: filepath.Join(dir, "client-key.pem"),
	}
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "marquee test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	caKey, caPEM, _, err := sign(ca, nil, nil)
	if err != nil {
		return files, err
	}
	broker := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	_, brokerPEM, brokerKeyPEM, err := sign(broker, ca, caKey)
	if err != nil {
		return files, err
	}
	client := &x509.Certificate{
		Subject: pkix.Name{CommonName: "marquee test client"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	_, clientPEM, clientKeyPEM, err := sign(client, ca, caKey)
	return files, errors.Join(err,
		os.WriteFile(files.ca, caPEM, 0o600),
		os.WriteFile(files.keyStore, slices.Concat(brokerKeyPEM, brokerPEM, caPEM), 0o600),
		os.WriteFile(files.clientCert, clientPEM, 0o600),
		os.WriteFile(files.clientKey, clientKeyPEM, 0o600))
}

// sign completes template and signs it with the parent's key, or with its own when parent is nil.
func sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (key *ecdsa.PrivateKey, cert, keyPEM []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, nil, err
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(30*24*time.Hour)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
