package openapi

import "strings"

// deeds are the summaries of what is neither a list nor one of its objects, by method and the end of the path.
var deeds = map[string]string{
	"GET /":                       "List the versions of the API",
	"GET /1.0":                    "Show the server and its configuration",
	"PUT /1.0":                    "Replace the configuration of the server",
	"PATCH /1.0":                  "Change keys of the configuration of the server",
	"PUT instances":               "Start, stop, restart or freeze many instances",
	"POST exec":                   "Run a program in the instance",
	"GET console":                 "Read what the console has shown",
	"POST console":                "Connect to the console",
	"DELETE console":              "Forget what the console has shown",
	"GET files":                   "Read a file of the instance, or list a folder",
	"HEAD files":                  "Tell owner, mode, size and kind of a file of the instance",
	"POST files":                  "Write a file, folder or link in the instance",
	"DELETE files":                "Delete a file of the instance",
	"GET sftp":                    "Connect to the files of the instance",
	"PUT state":                   "Start, stop, restart or freeze the instance",
	"POST rebuild":                "Give the instance a new root from an image",
	"GET templates":               "List the templates of the instance, or read one",
	"POST templates":              "Write a template of the instance",
	"DELETE templates":            "Delete a template of the instance",
	"GET export":                  "Fetch the content",
	"HEAD export":                 "Tell what fetching the content would answer",
	"POST export":                 "Send the image to another server",
	"POST refresh":                "Look for a newer image at the source",
	"POST secret":                 "Make a secret with which the image can be fetched once",
	"GET wait":                    "Wait for the end of the operation",
	"GET websocket":               "Connect to the operation",
	"DELETE operations/{id}":      "Cancel the operation",
	"GET events":                  "Listen to events",
	"GET log":                     "Read the log",
	"GET configuration":           "Describe the configuration keys of every entity",
	"GET openapi":                 "Show this description of the API",
	"GET current":                 "Show who is calling, and what the caller may do",
	"POST token":                  "Issue a token, in place of the one before",
	"DELETE token":                "Revoke the token",
	"GET resources":               "Show what hardware there is and how much of it is in use",
	"GET metrics":                 "Read the metrics in the OpenMetrics form",
	"POST certificates":           "Trust a certificate, or make a token with which a client can have its own trusted",
	"POST images":                 "Make an image of an upload, an instance, another server or an address",
	"GET logs/exec-output":        "List what recorded commands wrote",
	"GET logs/exec-output/{file}": "Read what a recorded command wrote",
}

// verbs are what methods do to a list and to one object of it.
var verbs = map[string][2]string{
	"GET": {"List the ", "Show the "}, "POST": {"Make a new ", "Rename or move the "}, "PUT": {"Replace the ", "Replace what can be changed of the "},
	"PATCH": {"Change parts of the ", "Change parts of the "}, "DELETE": {"Delete the ", "Delete the "}, "HEAD": {"Look at the ", "Look at the "},
}

// summary tells in a line what a route does.
func summary(method, path string) string {
	parts := strings.Split(path, "/")
	for n := 1; n <= len(parts); n++ {
		if text, ok := deeds[method+" "+strings.Join(parts[len(parts)-n:], "/")]; ok {
			return text
		}
	}
	if text, ok := deeds[method+" "+path]; ok {
		return text
	}
	last := len(parts) - 1
	if parts[last] == "{type}" {
		last--
	}
	if !strings.HasPrefix(parts[last], "{") {
		many := 0
		if !strings.HasSuffix(parts[last], "s") && !strings.HasSuffix(parts[last], "exec-output") {
			many = 1
		}
		if method == "POST" {
			return verbs[method][many] + single(noun(parts[last]))
		}
		return verbs[method][many] + noun(parts[last])
	}
	if strings.HasPrefix(parts[last-1], "{") { // the name is that of a type and of an object of it
		last--
	}
	return verbs[method][1] + single(noun(parts[last-1]))
}

func noun(segment string) string {
	return strings.NewReplacer("-", " ", "acls", "ACLs").Replace(segment)
}

// single is one of many.
func single(plural string) string {
	switch {
	case strings.HasSuffix(plural, "ies"):
		return strings.TrimSuffix(plural, "ies") + "y"
	case strings.HasSuffix(plural, "aliases"):
		return strings.TrimSuffix(plural, "es")
	}
	return strings.TrimSuffix(plural, "s")
}
