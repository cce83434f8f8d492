"""Notes: a small web service on Postgres, as many teams have one."""
