"""What happens to a batch of uploads, with AWS at its edges.

    rollout                                  asks a new version of the worker for a known answer, before it gets uploads
    app ─► worker ─► intake/events           reads the event: the uploads and removals of its messages
                 └─► flow/delivery           the order of work: removals, new uploads, suspects
                      ├─► flow/stages        looks up which uploads have a record already
                      ├─► flow/pipeline      many uploads at a time, through three stages of flow/stages:
                      │     prepare          flow/fetching, then model_layer decodes
                      │     infer            model_layer classifies
                      │     conclude         store/record, written by store/table
                      ├─► flow/queues        which messages to acknowledge early or show again soon; passes on removals
                      └─► store/erasure      the marks, for uploads whose removal came first
    store/queries ─► store/precedence       what was recorded, by label or status: the current records

    housekeeping ─► housekeeper              the second function: erases the records of removed objects, and gives the
                      │                      uploads of messages without receives left their `failed` record
                      └─► store/erasure      marks what is removed, asks S3, erases

    reconciling ─► reconciler                the third function, only on a schedule: finds uploads without a record
                      ├─► store/unrecorded   compares bucket and table; `dermbatch reconcile` does it by the same code
                      └─► lanes              sends what is missing through the bulk lane

The housekeeper imports no decoder and no inference runtime, because it may erase; the reconciler needs none either.
`model_layer` loads both only when they are used.

The store imports neither the flow nor `app`, so that commands and services can read it without a worker.

One noun for each thing, in the order in which an upload becomes them:

    image      as a field, the name `<bucket>/<key>`, which all versions of an object share; in prose, the picture
    upload     one version of one object, as an event names it (a removal is its opposite)
    message    the unit of acknowledgement: names uploads and removals; a batch holds an event's messages
    receive    one delivery of a message; an upload is near its end on the last two receives that its queue allows
    announce   to write a `failed` record before an attempt, which stays if the process dies
    decoded    an upload whose pixels wait for the network
    finding    an upload and its answer: a prediction, a rejection, or an error
    record     a finding as it is kept under one model, with one of the five statuses; its state is the same in short
    outcome    what this invocation did with an upload or a removal: recorded, erased, or to be handed back
    spent      of a message: its receives are used up, so SQS has moved it to the housekeeper
    suspect    an upload that may have killed a worker, or cannot come again; tried alone, each try is an attempt
    current    of the records that several models left for one upload, the one that queries give
    candidate  a model that answers a copy of the uploads in the shadow lane, and is seen by nobody else
    mark       what a removal leaves in the table, so that a later event of the removed upload is noticed
    pseudonym  what stands for an image in logs and marks: a hash under the stack's secret (`handler.pseudonyms`)
    marker     S3's delete marker: a version without content, which hides the older ones
"""
