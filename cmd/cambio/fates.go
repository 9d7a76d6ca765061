package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// deniedRow is what becomes of one credential.
type deniedRow struct {
	State       string `json:"state"`
	Expires     string `json:"expire_time"`
	Explanation string `json:"explanation"`
	Exchange    string `json:"exchange"`
	Lease       string `json:"lease"`
	Subject     string `json:"subject"`
	Target      string `json:"target"`
	Handle      string `json:"handle"`
}

// fates say a state to people.
var fates = map[string]string{
	"STATE_REVOKED": "dead now", "STATE_REFUSED": "dead here", "STATE_EXPIRES": "dies by itself",
	"STATE_NOT_STOPPED": "NOT STOPPED", "STATE_PENDING": "under way",
}

// fateTable gathers, page by page, what becomes of credentials.
type fateTable struct {
	rows    [][]string
	left    int // could be stopped, and were not
	pending bool
}

// add takes a page, and says whether the lease named was in it.
func (f *fateTable) add(w io.Writer, page []json.RawMessage, output, lease string) (own bool, err error) {
	for _, one := range page {
		var row deniedRow
		if err := json.Unmarshal(one, &row); err != nil {
			return own, err
		}
		if row.State == "STATE_NOT_STOPPED" {
			f.left++
		}
		own = own || row.Lease == lease
		f.pending = f.pending || row.State == "STATE_PENDING"
		if output == "json" {
			if err := printLine(w, one); err != nil {
				return own, err
			}
			continue
		}
		f.rows = append(f.rows, []string{either(fates[row.State], row.State), row.Expires, row.Subject, row.Target, row.Handle, row.Exchange, row.Explanation})
	}
	return own, nil
}

// print writes the table; none is what is said of an empty one.
func (f *fateTable) print(cmd *cobra.Command, output, none string) error {
	if f.pending {
		defer fmt.Fprintln(cmd.ErrOrStderr(), "Exchanges were under way: their ends will be in the ledger within a minute.")
	}
	switch {
	case output != "table":
		return nil
	case len(f.rows) > 0:
		return table(cmd.OutOrStdout(), []string{"BECOMES", "DIES", "SUBJECT", "TARGET", "HANDLE", "EXCHANGE", "WHY"}, f.rows)
	case none != "":
		_, err := fmt.Fprintln(cmd.OutOrStdout(), none)
		return err
	}
	return nil
}
