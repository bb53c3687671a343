"""The `dermbatch` command. Each of its commands is a thin layer over the other folders.

app        all commands with their options; imports nothing else until a command runs
deployed   finds a deployed stack by its name, on AWS or on this machine
output     rows on stdout as a table, JSON or CSV; progress and questions on stderr
backfill   sends what is already in the bucket through the bulk lane
smoke      checks a deployed stack with known images
"""

__version__ = "0.1.0"
