// Package servingv1 is the contract of the recommendation RPC.
package servingv1
