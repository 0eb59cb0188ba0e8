"""Configuration: environment variables, secrets and dbt profiles."""
