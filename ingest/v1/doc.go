// Package ingestv1 is the contract of watch events: the RPC that takes them in, their record format and their topics.
package ingestv1
