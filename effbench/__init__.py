"""effbench: where does compressing a neural network stop being free?"""
