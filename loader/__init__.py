"""The loader: reads `cbf_lines` and delivers it to CloudZero's AnyCost Stream API."""

__version__ = "0.1.0"
