"""The `dermbatch` command. Each of its commands is a thin layer over the other folders.

app        all commands with their options; imports nothing else until a command runs

submit     uploads files, and writes a manifest
results    what became of a submission, or of days
show       one image's records in words
classify   files here and now, without AWS
erase      an image with its records
export     the records of days, for other programs
backfill   sends what is already in the bucket through the bulk lane
serve      the service with its page, over a deployed stack or one of this machine's own
work       the worker as a process that polls a queue
dlq        dead letters: list, show, redrive
compare    two versions of the model on their stored records
smoke      checks a deployed stack with known images

deployed   finds a deployed stack by its name, on AWS or on this machine
output     rows on stdout as a table, JSON or CSV; progress and questions on stderr
rows       records in short, as several commands print them
files      the files below the paths that a person names
manifest   which file of a submission went where
following  the records of a submission, now or as they come
images     an image as a person names it
reference  writes docs/reference.md from the code
"""

__version__ = "0.1.0"
