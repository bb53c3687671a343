"""`python -m benchmarks.cost`."""

from benchmarks.cost.documents import DOCUMENTS, refresh

refresh()
print(f"Wrote the tables of {', '.join(document.name for document in DOCUMENTS)}.")
