package api

import (
	"errors"
	"io"
	"regexp"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// strictJSON is the JSON of the REST face: the names of the .proto, and on the way
// in exactly one object, no unknown member, none twice, no wrong types.
type strictJSON struct{ runtime.JSONPb }

func newJSON() *strictJSON {
	return &strictJSON{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
	}}
}

// NewDecoder reads the whole body, which is bounded already, as one message.
// grpc-gateway's own decoder stops after the first value and takes an empty body
// for an empty message.
func (j *strictJSON) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		message, ok := v.(proto.Message)
		if !ok {
			return errors.New("the body does not fit")
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return errors.New("the body could not be read")
		}
		if len(body) == 0 {
			return errors.New("the body is empty: send a JSON object")
		}
		if err := j.UnmarshalOptions.Unmarshal(body, message); err != nil {
			return jsonFault(err, message)
		}
		return nil
	})
}

// knownFault finds, in protojson's errors, the place and the part of the message
// that holds names only. The rest may quote the body, tokens and all.
var knownFault = regexp.MustCompile(`\(line (\d+:\d+)\): (?:(unknown|duplicate) field "(\w{1,64})"|invalid value for (?:\w+ )*field (\w{1,64}))?`)

func jsonFault(err error, message proto.Message) error {
	m := knownFault.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return errors.New("the body is not a JSON object of this method's members")
	case m[2] != "":
		return errors.New("the body, at " + m[1] + ": " + m[2] + " member " + m[3])
	case m[4] != "":
		name := m[4]
		if field := message.ProtoReflect().Descriptor().Fields().ByJSONName(name); field != nil {
			name = string(field.Name()) // protojson says publicKey whichever of the two names came
		}
		return errors.New("the body, at " + m[1] + ": the value of " + name + " is of a wrong type")
	}
	return errors.New("the body, at " + m[1] + ": not the JSON that was expected")
}
