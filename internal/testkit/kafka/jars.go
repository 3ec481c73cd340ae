package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Version of Apache Kafka that is fetched.
const Version = "4.1.0"

const dependencyPlugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// The simple logger binding must be of the slf4j line that Kafka's own jars use.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>marquee</groupId>
  <artifactId>kafka-classpath</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>` + Version + `</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
`

// ErrNoJars says that Kafka's jars have not been fetched.
var ErrNoJars = errors.New("the jars of Apache Kafka are not here: run make kafka-jars")

// ErrNoJava says that there is no Java runtime.
var ErrNoJava = errors.New("no java in PATH: Apache Kafka needs Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")

// Cache is where the project keeps Kafka, under its root.
func Cache(projectRoot string) string { return filepath.Join(projectRoot, ".cache", "kafka") }

// jars is the folder of a complete fetch: it is renamed into place, so that it is whole or not there.
func jars(cache string) string { return filepath.Join(cache, "kafka-"+Version) }

// Ready returns ErrNoJava or ErrNoJars when a broker cannot be started from cache.
func Ready(cache string) error {
	if _, err := exec.LookPath("java"); err != nil {
		return ErrNoJava
	}
	if _, err := os.Stat(jars(cache)); err != nil {
		return ErrNoJars
	}
	return nil
}

// Fetch copies the jars of Kafka and all it needs from Maven Central into cache, with Maven, which checks their checksums. When
// they are there already it does nothing and needs neither Maven nor a network.
func Fetch(ctx context.Context, cache string, out io.Writer) error {
	if _, err := os.Stat(jars(cache)); err == nil {
		return nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("no mvn in PATH: Maven fetches Apache Kafka's jars (Debian: apt-get install maven)")
	}
	// Maven takes paths as relative to the folder of its pom.
	if cache, err = filepath.Abs(cache); err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	err = fetch(ctx, mvn, tmp, out)
	if err == nil {
		err = os.Rename(filepath.Join(tmp, "jars"), jars(cache))
	}
	if err = errors.Join(err, os.RemoveAll(tmp)); err != nil {
		return fmt.Errorf("fetch Apache Kafka %s: %w", Version, err)
	}
	return nil
}

func fetch(ctx context.Context, mvn, tmp string, out io.Writer) error {
	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, []byte(pom), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "-Dstyle.color=never", "--strict-checksums", "--file", file, dependencyPlugin,
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(tmp, "jars"))
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}
