// Package endpoint maps API calls to the use cases; one file a resource: its table of routes, and no rules.
package endpoint
