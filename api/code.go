package api

import "fmt"

// code is what the tables say of a numbered value.
type code struct {
	text, entity, note string
}

// String is the text that travels beside the number in "status" fields.
func (s StatusCode) String() string {
	if c, ok := statusCodes[s]; ok {
		return c.text
	}
	return fmt.Sprintf("Unknown status %d", int(s))
}

// Final tells whether an operation with this status has ended.
func (s StatusCode) Final() bool {
	return statusCodes[s].note == "final"
}

// ParseStatusCode finds the code of a status text, such as "Running".
func ParseStatusCode(text string) (StatusCode, bool) {
	for s, c := range statusCodes {
		if c.text == text {
			return s, true
		}
	}
	return 0, false
}

// String is the description of an operation of this type, as clients show it.
func (t OperationType) String() string {
	return operationTypes[t].text
}

// Entity is the type of the entity that an operation of this type acts on; rights are checked against it.
func (t OperationType) Entity() EntityType {
	return EntityType(operationTypes[t].entity)
}

// String is the text of a warning of this type.
func (t WarningType) String() string {
	return warningTypes[t].text
}

// Severity is the severity of a warning of this type, one of the WarningSeverity words.
func (t WarningType) Severity() string {
	return warningTypes[t].note
}
