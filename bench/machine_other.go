//go:build !linux

package main

// busy is not known.
func (s *server) busy() float64 { return 0 }

// processBusy is not known.
func processBusy(int) float64 { return 0 }

// residentMemory is not known.
func residentMemory(int) int64 { return 0 }

// peakMemory is not known.
func peakMemory(int) int64 { return 0 }
