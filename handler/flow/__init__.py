"""The work on a batch of uploads: fetch, decode, classify, write, and answer the queue."""
