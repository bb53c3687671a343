"""Brings back the records of an earlier time, but none that was erased since.

    dermbatch restore --stack dermbatch --at 2026-11-25T09:00

run        the command: which table is copied, what is printed
at_time    has DynamoDB restore the stack's table to a time, into a new table
copying    copies records from that table, unless their image is gone
"""
