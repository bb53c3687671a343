"""What a model is worth on labelled images: figures with their intervals, and checks that change the images."""
