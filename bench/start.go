package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// startRounds is how often each binary is started; the median is told.
const startRounds = 5

// runStart compares binaries: their size, the start of `cambio dev` in a data folder
// that is there, and what it holds when idle.
func runStart(ctx context.Context, binaries []string) error {
	for _, binary := range binaries {
		binary, err := filepath.Abs(binary)
		if err != nil {
			return err
		}
		info, err := os.Stat(binary)
		if err != nil {
			return err
		}
		var starts []time.Duration
		var idles []float64
		for range startRounds {
			dir, err := os.MkdirTemp("", "cambio-bench-")
			if err != nil {
				return err
			}
			start, idle, err := devStart(ctx, binary, dir)
			_ = os.RemoveAll(dir)
			if err != nil {
				return fmt.Errorf("starting %s: %w", binary, err)
			}
			starts, idles = append(starts, start), append(idles, idle)
		}
		slices.Sort(starts)
		slices.Sort(idles)
		fmt.Printf("%-24s %6.1f MB on disk, ready in %4.0f ms (%.0f to %.0f), %5.1f MB idle\n", filepath.Base(binary), float64(info.Size())/1e6,
			ms(starts[startRounds/2]), ms(starts[0]), ms(starts[startRounds-1]), idles[startRounds/2])
	}
	return nil
}
