"""The AnyCost Stream API: its client, its bodies and its rules. The only package that imports requests."""
