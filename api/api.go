// Package api holds what travels between client and server: the bodies of requests and answers, the codes and words in them,
// and the list of API extensions.
//
// Nearly all of it is generated from the tables in spec/ by `make gen`. The package uses the standard library alone, so that
// other programs can import it cheaply.
package api
