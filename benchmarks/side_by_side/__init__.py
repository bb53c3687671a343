"""This worker and a usual Keras worker, measured side by side in one run: `make bench`.

    __main__ ─► uploads                      the files and events that both get
             ─► workers ─► process ─► child  cold start, throughput, load: a fresh process with one of the two handlers
             ─► models                       network, decoder and installed size
             ─► rows, dollars, documents     what becomes of the samples

Samples are taken in turn, ours and the baseline's, so that a change in the machine's speed affects both. A row's figure
is the median; its ratio is the median of the pairs' ratios, with the lowest and highest as its spread.
"""
