package app

import (
	"lxd/internal/endpoint"
	"lxd/internal/schema"
)

// properties are the fields of objects that are described together with their configuration keys.
func properties() endpoint.Tables {
	text := func(name, short string) schema.Key { return schema.Key{Name: name, Type: schema.String, Short: short} }
	return endpoint.Tables{
		"instance-property": {"instance-conf": {
			{Name: "architecture", Type: schema.String, Volatile: true, Short: "Architecture of the instance"},
			{Name: "name", Type: schema.String, Volatile: true, Short: "Name of the instance, which is also its host name"},
		}},
		"network-acl": {
			"acl-properties": {
				text("name", "Name of the ACL, unique in its project"), text("description", "What the ACL is for"),
				text("ingress", "Rules for what comes to the members of the ACL"), text("egress", "Rules for what they send"),
				text("config", "Configuration keys of the user's own"),
			},
			"rule-properties": {
				{Name: "action", Type: schema.OneOf("allow", "allow-stateless", "drop", "reject"), Short: "What is done with matching packets"},
				{Name: "state", Type: schema.OneOf("enabled", "disabled", "logged"), Default: "enabled", Short: "Whether the rule is in force, and whether matches are logged"},
				text("description", "What the rule is for"),
				text("source", "Where packets may come from: subnets, ranges, or names of ACLs"), text("destination", "Where packets may go to: subnets, ranges, or names of ACLs"),
				{Name: "protocol", Type: schema.OneOf("icmp4", "icmp6", "tcp", "udp"), Short: "Protocol of the packets; all without it"},
				{Name: "source_port", Type: schema.String, Condition: "protocol tcp or udp", Short: "Ports or ranges that packets come from"},
				{Name: "destination_port", Type: schema.String, Condition: "protocol tcp or udp", Short: "Ports or ranges that packets go to"},
				{Name: "icmp_type", Type: schema.Integer, Condition: "protocol icmp4 or icmp6", Short: "Type of the ICMP message; all without it"},
				{Name: "icmp_code", Type: schema.Integer, Condition: "protocol icmp4 or icmp6", Short: "Code of the ICMP message; all without it"},
			},
		},
		"network-forward": {
			"forward-properties": {
				text("listen_address", "Address that the network listens on"), text("description", "What the forward is for"),
				text("ports", "Ports that are sent to other addresses than the rest"), text("config", "Configuration keys of the forward"),
			},
			"port-properties": {
				{Name: "protocol", Type: schema.OneOf("tcp", "udp"), Short: "Protocol of the ports"},
				text("listen_port", "Ports or ranges that are listened on"), text("target_address", "Address that they are sent to"),
				{Name: "target_port", Type: schema.String, Default: "listen_port", Short: "Ports that they are sent to"}, text("description", "What the ports are for"),
			},
		},
	}
}
