// Package file writes credentials to files and keeps them fresh, for programs that read
// a token, a password or a whole configuration from a path: as a sidecar, which renews
// ahead and then signals or runs a command, or once, as an init container.
//
// A reader sees a whole old file or a whole new one, with the mode and the owner that are
// configured and never with more. A file whose content would not change is not touched.
// While the server cannot be asked, the file stays as it is; what dies meanwhile is said
// in the log, and removed where that is wished.
package file
