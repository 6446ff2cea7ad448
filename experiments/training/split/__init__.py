"""The strategy `split`: dense layers are cut by their outputs over the workers, everything else is data-parallel.

The mix of Krizhevsky 2014 ("One weird trick for parallelizing convolutional neural networks", section 4, scheme (a)): every
worker has a slice of a dense layer's outputs, gets the layer's inputs of all workers' images, and computes its slice for all
of them. The mathematics are those of data parallelism; gradients and values of a slice never travel.
"""

DATA, SPLIT = "data", "split"
"""Values of `--strategy`."""
