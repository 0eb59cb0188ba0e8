"""Programs for this repository alone; not part of the package."""
