package listen

import (
	"io"
	"net/http"
	"time"
)

// lingering is how long the rest of a refused request's body is waited for, so that its
// sender gets to read why, and is not cut off while it still sends.
const lingering = time.Second

// Unread is for an answer that is given before the body was read: it is the last one of
// the connection, and net/http, which reads what is left, does not wait for long. It is
// called before the answer is written.
func Unread(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingering))
	}
}

// Paced is a body whose sender is waited for no longer than silence at a time. What comes
// later is os.ErrDeadlineExceeded; then the connection is not to be used again.
func Paced(w http.ResponseWriter, body io.Reader, silence time.Duration) io.Reader {
	return &paced{http.NewResponseController(w), body, silence}
}

type paced struct {
	control *http.ResponseController
	body    io.Reader
	silence time.Duration
}

// Read waits for as long as it may.
func (p *paced) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.silence))
	n, err := p.body.Read(b)
	if err == io.EOF {
		_ = p.control.SetReadDeadline(time.Time{}) // or the caller would seem to leave
	}
	return n, err
}
