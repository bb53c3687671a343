"""Evidence that dermbatch keeps its promises.

soak           thousands of uploads under injected faults
fuzz           coverage-guided fuzzing of the decoder
audit          code, template and every pinned package
tiny_bundle    a model bundle for tests and soaks
"""
