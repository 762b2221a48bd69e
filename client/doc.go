// Package client speaks the LXD API to a daemon, over its unix socket or over HTTPS.
//
// A Client is cheap: making one sends nothing. InProject and OnTarget give views of the same connection.
// Calls return an *Error when the server refused, so that the status code can be asked for:
//
//	c, err := client.ConnectUnix("")
//	var inst api.Instance
//	etag, err := c.Get(ctx, "/1.0/instances/c1", &inst)
//	op, err := c.Send(ctx, "PUT", "/1.0/instances/c1/state", api.InstanceStatePut{Action: "start", Timeout: -1}, "")
//	err = op.Wait(ctx)
package client
