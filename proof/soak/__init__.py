"""The soak: thousands of uploads through the real handler, real queues and injected faults, and then the count.

uploads   what is put into the bucket, and which record each must end with
faults    what goes wrong, below boto3, inside the worker's process
sandbox   the worker's process as Lambda runs it: killed at its timeout, and started anew after its death
clouds    ministack (template.yaml deployed) or moto's server, with the template's bucket, queues and table
run       uploads, workers and verdict in one
"""
