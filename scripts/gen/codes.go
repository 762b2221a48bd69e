package main

import (
	"fmt"
	"strings"

	"lxd/scripts/internal/table"
)

// enum says how the rows of a category of status-codes.tsv become Go constants.
type enum struct {
	category, prefix string
	// goType is empty for untyped strings: wire fields that hold them are plain strings.
	goType string
	doc    string
}

// numbered enums have a code and a text of their own; each gets a file.
var numbered = []enum{
	{"status_code", "Status", "StatusCode", "StatusCode is the state of an operation or an entity, as a number."},
	{"operation_type", "Operation", "OperationType", "OperationType says what an operation does."},
	{"warning_type", "Warning", "WarningType", "WarningType says what a warning is about."},
}

// worded enums are plain words on the wire. Those that share a Go type share its constants.
var worded = []enum{
	{"response_type", "ResponseType", "ResponseType", "ResponseType is the kind of an answer."},
	{"instance_type", "InstanceType", "InstanceType", "InstanceType is the kind of an instance."},
	{"entity_type", "EntityType", "EntityType", "EntityType is a kind of thing that the API manages."},
	{"instance_source_type", "SourceType", "SourceType", "SourceType says what an instance, an image or a volume is made from."},
	{"image_source_type", "SourceType", "SourceType", ""},
	{"storage_volume_source_type", "SourceType", "SourceType", ""},
	{"operation_class", "OperationClass", "", "The classes of operations."},
	{"event_type", "EventType", "", "The types of events."},
	{"instance_state_action", "InstanceAction", "", "The actions of a change of an instance's state."},
	{"cluster_role", "ClusterRole", "", "The roles of cluster members."},
	{"cluster_member_status", "ClusterMemberStatus", "", "The states of cluster members."},
	{"cluster_member_state_action", "ClusterMemberAction", "", "The actions of a change of a cluster member's state."},
	{"cluster_evacuate_mode", "ClusterEvacuateMode", "", "The ways to empty a cluster member."},
	{"cluster_restore_mode", "ClusterRestoreMode", "", "The ways to refill a cluster member."},
	{"devlxd_event_type", "DevLXDEventType", "", "The types of events that a guest receives."},
	{"requestor_protocol", "RequestorProtocol", "", "The ways in which a caller is known."},
	{"auth_method", "AuthMethod", "", "The methods of authentication."},
	{"server_auth", "Auth", "", "What GET /1.0 says of the caller."},
	{"identity_type", "IdentityType", "", "The types of identities."},
	{"certificate_type", "CertificateType", "", "The types of certificates."},
	{"network_status", "NetworkStatus", "", "The states of networks."},
	{"network_type", "NetworkType", "", "The types of managed networks."},
	{"storage_pool_status", "StoragePoolStatus", "", "The states of storage pools."},
	{"storage_volume_type", "StorageVolumeType", "", "The types of storage volumes."},
	{"storage_volume_content_type", "StorageVolumeContentType", "", "The content types of storage volumes."},
	{"warning_severity", "WarningSeverity", "", "The severities of warnings."},
	{"warning_status", "WarningStatus", "", "The states of warnings."},
	{"placement_policy", "PlacementPolicy", "", "The policies of placement groups."},
	{"placement_rigor", "PlacementRigor", "", "How strictly a placement policy is followed."},
	{"disk_volumes_mode", "DiskVolumesMode", "", "Which volumes a snapshot or a restore covers."},
	{"metrics_request_result", "MetricsResult", "", "The results by which API requests are counted."},
}

// skipped categories repeat values of others: instance_state is a subset of status_code, image_type equals instance_type.
var skipped = map[string]bool{"instance_state": true, "image_type": true, "lifecycle_event": true}

func codeFiles(root string) ([]file, error) {
	rows, err := table.Read(root, "status-codes")
	if err != nil {
		return nil, err
	}
	byCategory := map[string][]table.Row{}
	for _, r := range rows {
		byCategory[r["category"]] = append(byCategory[r["category"]], r)
	}
	if err := allKnown(byCategory); err != nil {
		return nil, err
	}
	files := []file{
		{"api/lifecycle_gen.go", withHeader("status-codes", lifecycle(byCategory["lifecycle_event"]))},
		{"api/word_gen.go", withHeader("status-codes", words(byCategory))},
	}
	for _, e := range numbered {
		files = append(files, file{"api/" + e.category + "_gen.go", withHeader("status-codes", numbers(e, byCategory[e.category]))})
	}
	return files, nil
}

// allKnown makes a new category of the table an error rather than a silent loss.
func allKnown(byCategory map[string][]table.Row) error {
	known := map[string]bool{}
	for _, e := range append(append([]enum{}, numbered...), worded...) {
		known[e.category] = true
	}
	for c := range byCategory {
		if !known[c] && !skipped[c] {
			return fmt.Errorf("status-codes.tsv: the generator does not know category %q", c)
		}
	}
	return nil
}

func lifecycle(rows []table.Row) string {
	var b strings.Builder
	b.WriteString("// The actions of lifecycle events.\nconst (\n")
	for _, r := range rows {
		name := exported("Lifecycle", r["name"])
		_, source, _ := strings.Cut(r["note"], "source=")
		fmt.Fprintf(&b, "// %s is announced with source %s\n%s = %q\n", name, source, name, r["name"])
	}
	b.WriteString(")\n")
	return b.String()
}

func words(byCategory map[string][]table.Row) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, e := range worded {
		if e.goType != "" && e.doc != "" {
			fmt.Fprintf(&b, "// %s\ntype %s string\n\n", e.doc, e.goType)
		}
		var consts strings.Builder
		for _, r := range byCategory[e.category] {
			name := exported(e.prefix, r["name"])
			if seen[name] {
				continue
			}
			seen[name] = true
			fmt.Fprintf(&consts, "// %s is the word %q.\n%s %s = %q\n", name, r["name"], name, e.goType, r["name"])
		}
		if consts.Len() == 0 {
			continue
		}
		doc := e.doc
		if e.goType != "" {
			doc = "Values of " + e.goType + "."
		}
		fmt.Fprintf(&b, "// %s\nconst (\n%s)\n\n", doc, consts.String())
	}
	return b.String()
}

func numbers(e enum, rows []table.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s\ntype %s int\n\n// Values of %s.\nconst (\n", e.doc, e.goType, e.goType)
	for _, r := range rows {
		name := exported(e.prefix, r["name"])
		fmt.Fprintf(&b, "// %s is %q.\n%s %s = %s\n", name, r["name"], name, e.goType, r["code"])
	}
	vars := strings.ToLower(e.goType[:1]) + e.goType[1:] + "s"
	fmt.Fprintf(&b, ")\n\n// %s describes the values of %s.\nvar %s = map[%s]code{\n", vars, e.goType, vars, e.goType)
	for _, r := range rows {
		fmt.Fprintf(&b, "%s: {text: %q, entity: %q, note: %q},\n", r["code"], r["name"], r["entity"], r["note"])
	}
	b.WriteString("}\n")
	return b.String()
}
