"""Evidence that dermbatch keeps its promises: uploads under injected faults, fuzzed decoders, an audit of the pins."""
