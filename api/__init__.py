"""The HTTP service: a thin face over `model_layer.Classifier` and the handler's store of records.

    app ─► guard        every request: Host, Origin, token, headers, one log line, no exception gets past it
       └─► routes      the endpoints
           ├─► bodies      what a client sends, counted while it arrives
           ├─► line        the bounded queue in front of the classifier's threads
           ├─► records     records, objects and places for uploads: the only module that knows AWS
           ├─► service     the model and the store, made once; overlays and previews
           └─► problems    every error, as RFC 9457 says it

`serving` runs it on one machine (`python -m api`), `lambda_app` on Lambda, and `infra/Dockerfile` has a stage for it.
"""
