"""What happens to a batch of uploads, with AWS at its edges.

The way of an image, by module:

    app ─► worker ─► events         an event, to the uploads and removals (`messages`) that it speaks of
                 └─► delivery       what of them is new, done already, or to be tried alone
                     ├─► pipeline ─► fetching       the bytes of the very version that was uploaded
                     │           ├─► (model_layer)  bytes to an answer
                     │           ├─► record         an answer to a record of schema 1
                     │           └─► table          the record into DynamoDB
                     └─► erasure    what is deleted from the bucket, out of the table
"""
