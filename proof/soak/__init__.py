"""The soak: thousands of uploads through the real handler, real queues and injected faults, and then the count.

run        uploads, workers and verdict in one
pairs      instead: all pairs of faults, each on one upload, at every receive
uploads    the files to upload, and the record that each must get
clouds     ministack (with template.yaml) or moto, and messages in their queues
workers    workers in parallel, until the queue is empty
sandbox    a worker's process as Lambda runs it; sandbox_process is that process
faults     what goes wrong in that process, below boto3
verdict    the count at the end, and the story of each upload that went wrong
"""
