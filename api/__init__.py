"""The HTTP service: a thin face over `model_layer.Classifier` and the handler's store of records.

    app ─► guard        every request: Host, Origin, token, headers, one log line, no exception gets past it
       └─► routes      the endpoints
           ├─► bodies      what a client sends, counted while it arrives
           ├─► line        the bounded queues in front of the threads: of the classifier, the store, the relay
           ├─► records     records, objects and places for uploads: the only module that knows AWS
           ├─► service     the model and the store, made once; overlays and previews
           └─► problems    every error, as RFC 9457 says it

`serving` runs it on one machine (`python -m api`), `lambda_app` on Lambda; `infra/Dockerfile.api` has a stage for each.
"""
