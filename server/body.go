package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// ReadBody reads a request's body of at most limit bytes within the time read,
// and bounds everything until the answer is written by whole. Both count from now
// by the machine's clock, which is the one that sockets know. A transport that
// cannot bound time is in memory and needs none.
//
// After a body that was read to its end the deadline for reading is lifted:
// net/http goes on reading, to learn whether the caller hung up, and would take a
// deadline for that. After any other it stays, since net/http reads what was left
// of the body before it answers.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, read, whole time.Duration) ([]byte, error) {
	c, now := http.NewResponseController(w), time.Now()
	_ = c.SetWriteDeadline(now.Add(whole))
	_ = c.SetReadDeadline(now.Add(read))
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	body, err := readBounded(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	var over *http.MaxBytesError
	var slow net.Error
	switch {
	case err == nil:
		_ = c.SetReadDeadline(time.Time{})
		return body, nil
	case errors.As(err, &over):
		return nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return nil, exchange.Fault(exchange.KindInvalidRequest, "the body came too slowly", err)
	}
	return nil, exchange.Fault(exchange.KindInvalidRequest, "the body could not be read to its end", err)
}

func tooLarge() error {
	return exchange.Fault(exchange.KindTooLarge, "the body is too large", nil)
}

// readBounded reads to the end, in one piece where the length is known.
func readBounded(body io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(body)
	}
	b := make([]byte, length)
	_, err := io.ReadFull(body, b)
	return b, err
}
