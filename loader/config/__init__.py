"""What the environment and dbt profiles set."""
