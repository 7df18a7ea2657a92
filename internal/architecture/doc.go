// Package architecture holds the directions in which packages may import each
// other: its test reads them from the tree itself.
package architecture
