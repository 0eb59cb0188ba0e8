"""The command line: Click options in, output and exit codes out."""
