"""What a technique imposes on a tensor, as a torch parametrization; and on the inputs of layers, as a hook.

A constraint stays on its tensor while the network is trained further: training respects it without knowing it, and the
codec reads the tensor's native form (codes with scales or values) from it. `masks`, `quantizer` and `codebook` are the
constraints, `layer_inputs` and `activation_products` those on activations; `stack` is how they act together on a
tensor, `described` how they are kept as plain data.
"""
