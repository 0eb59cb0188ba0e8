"""The dbt target: its views, its hours and its push log. One module for each engine."""
