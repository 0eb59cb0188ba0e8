"""One run at a time: dbt, then a push of what is pending; and a long history in steps."""
