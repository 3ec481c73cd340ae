// Package catalogv1 is the contract of the catalogue: the RPC that keeps titles and the topic their changes go out on.
package catalogv1
