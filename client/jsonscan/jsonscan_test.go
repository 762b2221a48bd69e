package jsonscan_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"lxd/client/jsonscan"
)

func TestObject(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want map[string]string
		bad  bool
	}{
		"empty":      {in: " { } ", want: map[string]string{}},
		"every kind": {in: `{"a":1,"b" : [1,{"x":"]"}], "c":"q\"\\","d":null}`, want: map[string]string{"a": "1", "b": `[1,{"x":"]"}]`, "c": `"q\"\\"`, "d": "null"}},
		"no colon":   {in: `{"a" 1}`, bad: true},
		"no key":     {in: `{1:2}`, bad: true},
		"cut":        {in: `{"a":[1,2`, bad: true},
		"cut text":   {in: `{"a":"b\"}`, bad: true},
		"no value":   {in: `{"a":}`, bad: true},
		"array":      {in: `[]`, bad: true},
		"nothing":    {in: ``, bad: true},
		"no comma":   {in: `{"a":1 "b":2}`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			err := jsonscan.Object([]byte(c.in), func(key, value []byte) error { got[string(key)] = string(value); return nil })
			if (err != nil) != c.bad {
				t.Fatalf("error %v, want one: %v", err, c.bad)
			}
			if !c.bad && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestArray(t *testing.T) {
	for in, want := range map[string]int{"null": 0, "[]": 0, " [ 1 , 2 ]": 2, `[{"a":[1,2,3]},[],"x"]`: 3} {
		n := 0
		if err := jsonscan.Array([]byte(in), func([]byte) error { n++; return nil }); err != nil || n != want {
			t.Errorf("%s: %d values and %v, want %d", in, n, err, want)
		}
	}
	if err := jsonscan.Array([]byte(`[1,`), func([]byte) error { return nil }); err == nil {
		t.Error("a cut array was taken for a whole one")
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{`"plain"`: "plain", `"a\nb\u00e4"`: "a\nbä"} {
		if got, err := jsonscan.Text([]byte(in)); err != nil || got != want {
			t.Errorf("%s: got %q and %v", in, got, err)
		}
	}
	if _, err := jsonscan.Text([]byte("12")); err == nil {
		t.Error("a number was taken for a text")
	}
}

// What encoding/json takes for an object must be walked over with the same keys and values.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"b":[1,"}"]},"c":"\\\""}`, `[{}]`, `{"a":tru`, `"`, `{"\u0061":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := map[string]json.RawMessage{}
		err := jsonscan.Object(data, func(key, value []byte) error { got[string(key)] = value; return nil })
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || want == nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for key, value := range got {
			if w, ok := want[key]; ok && !json.Valid(value) {
				t.Errorf("%q: key %q has %q, want %q", data, key, value, w)
			}
		}
	})
}
