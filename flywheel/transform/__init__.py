"""How raw columns become model inputs: learned by Beam, applied by the same NumPy code in training and serving."""
