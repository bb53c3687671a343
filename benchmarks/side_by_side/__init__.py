"""This worker and a Keras worker of the usual kind, measured side by side in one run: `make bench`.

    __main__ ─► uploads, cloud, keras_model      what both are given
             ─► cold_start, throughput, load, inference, decoding, installed     the measurements
                    └─► worker, child            a fresh process that runs the one handler or the other
             ─► rows, dollars, machine, report   what is made of the samples

Samples are taken in turn, ours and the baseline's, so that a change in the machine's speed meets both. A row's figure
is the median; its ratio is the median of the pairs' ratios, with the lowest and highest as its spread.
"""
