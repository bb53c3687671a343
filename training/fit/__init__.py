"""From a network and images to a bundle: the training loop, operating points, and the bundle's files."""
