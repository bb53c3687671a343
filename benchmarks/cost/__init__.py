"""The bill of a million images, and how far the stack scales: computed, never typed.

    python -m benchmarks.cost            the tables of docs/cost.md and docs/capacity.md, a line of the README

    infra/prices.py ─┐
    seconds, units ──┼─► bill, capacity ─► documents
    template.yaml ───┘

seconds     measures how many seconds of a vCPU an image takes          benchmarks/results/cost/<processor>.json
units       counts what an image takes of the other services            benchmarks/results/cost/units.json
facts       those measurements, the template's defaults, what is assumed
bill        dollars
capacity    images a second
documents   tables, and the documents that hold them
"""
