"""A local AnyCost with faults, and sample spend logs, for rehearsals and tests."""
