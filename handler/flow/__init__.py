"""What is done with a batch of uploads: fetch, decode, classify, write, and answer the queue."""
