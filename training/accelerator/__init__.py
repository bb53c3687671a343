"""Training on a machine with an accelerator, which has no internet and takes only small transfers.

`pack` writes what is needed into parts that are small enough to send. `python -m training.accelerator` runs there, with
Keras on JAX and no other package than NumPy, SciPy, scikit-learn and Pillow. What has been learned comes back as a file
that `make train` continues from. The configuration is the same as in `training.fit.loop`. What differs is where views
are made: on the accelerator, from a few spoiled copies of each image, because its processor could not keep up.
"""
