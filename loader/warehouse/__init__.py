"""The dbt target: reads its views and writes its push log. One module for each engine."""
