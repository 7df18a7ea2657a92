package catalog

// Lines are the engine lines that errors tell to install.
func Lines() []string { return lines }
