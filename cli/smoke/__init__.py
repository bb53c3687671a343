"""Does a deployed stack work? Known images go in at one end, and their records must come out at the other.

    make smoke STACK=dermbatch

The images are drawn by a program. They are put under `smoke/<random>/` in the stack's bucket, deleted again at the
end, and with them their records, unless the stack keeps those (EraseRemoved).
"""
